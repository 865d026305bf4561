FROM scratch
# Creates /tmp and the state directory: an image from scratch has no folder at all.
WORKDIR /tmp
WORKDIR /var/lib/spawner
COPY sandbox spawner /usr/local/bin/
EXPOSE 8000 8008
VOLUME /var/lib/spawner
ENTRYPOINT ["/usr/local/bin/spawner"]
CMD ["serve"]
