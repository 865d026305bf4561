# shellcheck shell=bash
# Whether the ports that the stack publishes are free, and who has them if not.

check_ports() {
  check_port "$SPAWNER_HTTP_PORT" SPAWNER_HTTP_PORT
  check_port "$SPAWNER_HTTPS_PORT" SPAWNER_HTTPS_PORT
  check_port "$SPAWNER_API_PORT" SPAWNER_API_PORT
}

# check_port PORT SETTING
check_port() {
  local holder
  listened_on "$1" || return 0
  holder=$(docker ps --filter "publish=$1" --filter "label=com.docker.compose.project=$SPAWNER_PROJECT" --format '{{.Names}}')
  [ -z "$holder" ] || return 0 # ours
  holder=$(docker ps --filter "publish=$1" --format '{{.Names}}' | head -n 1)
  if [ -n "$holder" ]; then
    holder="the container $holder"
  else
    holder=$(port_process "$1")
  fi
  die "port $1 is taken by $holder: stop that, or choose another port, such as $2=$((($1 + 8000) % 60000)) ./build_project.sh up"
}

# listened_on PORT: whether something of this host listens on it, on whatever address.
listened_on() {
  local wanted
  wanted=$(printf ':%04X' "$1")
  awk -v port="$wanted" '$4 == "0A" && substr($2, length($2) - 4) == port { found = 1 } END { exit !found }' /proc/net/tcp /proc/net/tcp6 2>/dev/null
}

# port_process PORT prints who listens, as far as this user may know.
port_process() {
  local line=''
  if have ss; then line=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 (process \2)/p' | head -n 1); fi
  printf '%s' "${line:-a process of this host}"
}
