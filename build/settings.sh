# shellcheck shell=bash
# shellcheck disable=SC2034 # settings are read by name, and by docker compose
# The settings of this installation: the environment wins over what an earlier
# run has kept, that wins over the default. They are kept in .spawner/compose.env,
# which docker compose reads through the links named .env.

settings_file=$state/compose.env

# setting NAME DEFAULT: sets and exports the variable of that name.
setting() {
  local name=$1 value=${!1:-}
  [ -n "$value" ] || value=$(kept "$name")
  [ -n "$value" ] || value=$2
  case $value in
    *$'\n'* | *"'"* | *'$'*) die "$name holds a character that cannot be kept: a quote, a dollar sign or a line break" ;;
  esac
  printf -v "$name" '%s' "$value"
  export "${name?}"
  kept_names+=("$name")
}

# kept NAME: its value of the last run.
kept() { [ ! -f "$settings_file" ] || sed -n "s/^$1=//p" "$settings_file" | tail -n 1; }

# load_settings: all that needs no look at the machine, but for what this folder has started.
load_settings() {
  umask 077
  mkdir -p "$state"
  kept_names=()
  setting SPAWNER_PROJECT spawner
  fleet_is_new=no   # nothing knows of an installation yet
  fleet_is_found=no # it stands on the engine, and its settings are lost
  if [ -z "${SPAWNER_FLEET:-}" ] && [ -z "$(kept SPAWNER_FLEET)" ]; then
    SPAWNER_FLEET=$(fleet_of_this_folder)
    if [ -n "$SPAWNER_FLEET" ]; then fleet_is_found=yes; else fleet_is_new=yes; fi
  fi
  setting SPAWNER_FLEET "$SPAWNER_PROJECT-$(random_hex 4)"
  setting SPAWNER_NETWORK traefiknet
  setting SPAWNER_HTTP_PORT 80
  setting SPAWNER_HTTPS_PORT 443
  setting SPAWNER_API_PORT 8008
  setting SPAWNER_DOCKER_SOCKET "${docker_socket:-/var/run/docker.sock}"
  setting SPAWNER_SUBNET ''
  setting SPAWNER_TRAEFIK_IMAGE ''
  setting SPAWNER_ACME_EMAIL ''
  setting SPAWNER_ACME_CA_SERVER staging
  setting SPAWNER_ACME_CHALLENGE http
  setting SPAWNER_COOKIE_FALLBACK_URL ''
  for name in SPAWNER_HTTP_PORT SPAWNER_HTTPS_PORT SPAWNER_API_PORT; do require_port "$name"; done
  check_edge
  # Compose reads the project's name from its own variable.
  COMPOSE_PROJECT_NAME=$SPAWNER_PROJECT
  kept_names+=(COMPOSE_PROJECT_NAME)
}

# require_port NAME: its value must be a port.
require_port() {
  case ${!1} in
    *[!0-9]* | '' | ??????*) die "$1 must be a port, not ${!1}" ;;
  esac
  if [ "${!1}" -lt 1 ] || [ "${!1}" -gt 65535 ]; then die "$1 must be a port, not ${!1}"; fi
}

# keep_settings writes them, and touches nothing when they are the same.
keep_settings() {
  local text name
  text="# Made by build_project.sh, read by docker compose. Change a setting by naming it once:
# SPAWNER_HTTP_PORT=8080 ./build_project.sh up"
  for name in "${kept_names[@]}"; do text+=$'\n'"$name=${!name}"; done
  write_if_changed "$settings_file" "$text"
}

# write_if_changed FILE TEXT: true when it was changed. Others never see half of it.
write_if_changed() {
  if [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; then return; fi
  printf '%s\n' "$2" >"$1.new"
  mv "$1.new" "$1"
}

# secret FILE: makes it hold a random value unless it has one.
secret() {
  [ -s "$1" ] || write_if_changed "$1" "$(random_hex 24)"
}

random_hex() { od -An -N"$1" -tx1 /dev/urandom | tr -d ' \n'; }
