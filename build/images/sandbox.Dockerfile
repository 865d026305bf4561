FROM scratch
COPY sandbox /sandbox
ENTRYPOINT ["/sandbox"]
