FROM scratch
WORKDIR /tmp
COPY ca-certificates.crt /etc/ssl/certs/
COPY traefik /usr/local/bin/
EXPOSE 80 443
ENTRYPOINT ["/usr/local/bin/traefik"]
