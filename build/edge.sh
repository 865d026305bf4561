# shellcheck shell=bash
# shellcheck disable=SC2034 # docker compose reads what is set here
# The static configuration of the edge, made from the templates in edge/.

# check_edge refuses settings that would only be found wrong after the build.
check_edge() {
  case $SPAWNER_ACME_CHALLENGE in
    http | tls | dns:?*) ;;
    *) die "SPAWNER_ACME_CHALLENGE must be http, tls or dns:PROVIDER, not $SPAWNER_ACME_CHALLENGE" ;;
  esac
  case $SPAWNER_ACME_CA_SERVER in
    staging | production | https://*) ;;
    *) die "SPAWNER_ACME_CA_SERVER must be staging, production or an https URL, not $SPAWNER_ACME_CA_SERVER" ;;
  esac
}

# write_edge fills in .spawner/edge/ and sets SPAWNER_EDGE_CONFIG, a hash that
# makes compose start the edge anew when it has changed.
write_edge() {
  local text challenge=$SPAWNER_ACME_CHALLENGE provider=''
  mkdir -p "$state/edge/dynamic" "$state/spawner"
  secret "$state/spawner/edge-token"
  # Accounts of the direct-routing API: for people to fill in.
  [ -e "$state/spawner/passwords" ] || : >"$state/spawner/passwords"
  write_env_files
  [ -e "$state/edge/dynamic/home.yml" ] || cp edge/dynamic/home.yml "$state/edge/dynamic/"
  case $challenge in dns:*) provider=${challenge#dns:} challenge=dns ;; esac
  text=$(cat edge/traefik.yml "edge/acme-$challenge.yml")
  fill LOG_LEVEL INFO
  fill WEB :80
  fill WEBSECURE :443
  fill METRICS "$SPAWNER_CONTROL_EDGE:8082"
  fill FEED "http://$SPAWNER_CONTROL_ADDRESS:8008/traefik/config?edge=main"
  fill EDGE_TOKEN "$(cat "$state/spawner/edge-token")"
  fill DYNAMIC /etc/traefik/dynamic
  fill ACME_EMAIL "$SPAWNER_ACME_EMAIL"
  fill ACME_CA_SERVER "$(acme_server)"
  fill ACME_STORAGE "/acme/$(acme_name).json"
  fill ACME_DNS_PROVIDER "$provider"
  write_if_changed "$state/edge/traefik.yml" "$text"
  SPAWNER_EDGE_CONFIG=$(cat "$state/edge/traefik.yml" "$state/edge.env" | sha256sum | cut -c1-16)
  kept_names+=(SPAWNER_EDGE_CONFIG)
}

# write_env_files writes what people fill in, credentials of a DNS provider and flags
# of serve, where it is missing: compose wants all of it, even to stop.
write_env_files() {
  [ -e "$state/edge.env" ] || printf '# NAME=value lines for the DNS provider of SPAWNER_ACME_CHALLENGE=dns:PROVIDER\n' >"$state/edge.env"
  [ -e "$state/spawner.env" ] || printf '# NAME=value lines: flags of spawner serve by the names of their variables, such as SPAWNER_NODE_ADDRESS=192.0.2.1\n' >"$state/spawner.env"
}

# fill MARK VALUE: in the variable text of the caller.
fill() {
  case $2 in *'"'* | *\\*) die "a setting of the edge may hold no quote and no backslash: $2" ;; esac
  text=${text//"@$1@"/"$2"}
}

# acme_name prints a name for the CA's file: certificates of one are not taken for another's.
acme_name() {
  case $SPAWNER_ACME_CA_SERVER in
    staging | production) printf '%s' "$SPAWNER_ACME_CA_SERVER" ;;
    *) printf '%s' "$SPAWNER_ACME_CA_SERVER" | sha256sum | cut -c1-12 ;;
  esac
}

acme_server() {
  case $SPAWNER_ACME_CA_SERVER in
    staging) printf 'https://acme-staging-v02.api.letsencrypt.org/directory' ;;
    production) printf 'https://acme-v02.api.letsencrypt.org/directory' ;;
    *) printf '%s' "$SPAWNER_ACME_CA_SERVER" ;;
  esac
}
