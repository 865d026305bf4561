# shellcheck shell=bash
# shellcheck disable=SC2034 # the scripts that read this file use what it sets
# Where the spawner and the edge are, for the scripts of the examples. What is
# set already stays: SPAWNER_URL, SPAWNER_TOKEN, EDGE_URL, EDGE_TLS_URL. To log
# in with an account of the password file instead: SPAWNER_USER, SPAWNER_PASSWORD.
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# setting NAME DEFAULT prints what ./build_project.sh has kept.
setting() {
  local value=''
  [ ! -f "$repository/.spawner/compose.env" ] || value=$(sed -n "s/^$1=//p" "$repository/.spawner/compose.env")
  printf '%s' "${value:-$2}"
}

# stored_token prints the token that the spawner made at its first start.
stored_token() {
  local container
  if [ -f "$repository/.spawner/env" ]; then
    # shellcheck source=/dev/null
    (. "$repository/.spawner/env" && printf '%s' "$SPAWNER_TOKEN")
    return
  fi
  container=$(docker ps -q --filter label=spawner.role=spawner --filter "label=com.docker.compose.project=$(setting SPAWNER_PROJECT spawner)")
  docker cp "$container:/var/lib/spawner/admin-token" - | tar -xO
}

# login prints the token for SPAWNER_USER and SPAWNER_PASSWORD.
login() {
  curl -sS -L "$SPAWNER_URL/login" -H 'Content-Type: application/json' \
    -d "{\"username\": \"$SPAWNER_USER\", \"password\": \"$SPAWNER_PASSWORD\"}" | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p'
}

SPAWNER_URL=${SPAWNER_URL:-http://127.0.0.1:$(setting SPAWNER_API_PORT 8008)}
if [ -n "${SPAWNER_USER:-}" ]; then SPAWNER_TOKEN=$(login); fi
if [ -z "${SPAWNER_TOKEN:-}" ]; then SPAWNER_TOKEN=$(stored_token); fi
EDGE_URL=${EDGE_URL:-http://localhost:$(setting SPAWNER_HTTP_PORT 80)}
EDGE_TLS_URL=${EDGE_TLS_URL:-https://localhost:$(setting SPAWNER_HTTPS_PORT 443)}
NETWORK=${SPAWNER_NETWORK:-$(setting SPAWNER_NETWORK traefiknet)}
count=${1:-3}
failed=0

# fetch CURL-ARGUMENTS… prints the answer and remembers one that is an error.
fetch() {
  local answer body
  if ! answer=$(curl -sS -L --max-time 90 -w '\n%{http_code}' "$@"); then
    failed=1
    return
  fi
  body=${answer%$'\n'*} # the last line is the status
  printf '%s\n' "${body%$'\n'}"
  if [ "${answer##*$'\n'}" -ge 400 ]; then
    echo "status ${answer##*$'\n'}" >&2
    failed=1
  fi
}

# api METHOD PATH [JSON] calls the deploy API.
api() {
  local data=()
  if [ $# -gt 2 ]; then data=(-H 'Content-Type: application/json' -d "$3"); fi
  fetch -X "$1" "$SPAWNER_URL$2" -H "token: $SPAWNER_TOKEN" "${data[@]}"
}
