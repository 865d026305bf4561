FROM scratch
COPY mock-app /mock-app
EXPOSE 9000
ENTRYPOINT ["/mock-app"]
