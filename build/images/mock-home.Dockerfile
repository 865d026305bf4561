FROM scratch
COPY mock-home /mock-home
EXPOSE 8000
ENTRYPOINT ["/mock-home"]
