# shellcheck shell=bash
# shellcheck disable=SC2034 # docker compose reads what is set here
# The addresses of the containers. One block, of which the first half is the
# network that services share (its first addresses for strangers, the others are
# given to replicas and stay theirs) and the second holds the control network.

# choose_subnet sets SPAWNER_SUBNET, unless it is set, and all that follows from it.
choose_subnet() {
  local present
  present=$(network_subnet "$SPAWNER_NETWORK")
  if [ "$fleet_is_found" = yes ] && [ -n "$present" ]; then
    SPAWNER_SUBNET=${present%/*}/$((${present#*/} - 1)) # the block that it is the first half of
  fi
  if [ -z "$SPAWNER_SUBNET" ] || { [ -z "$present" ] && [ -n "$(kept SPAWNER_SUBNET)" ] && [ "$SPAWNER_SUBNET" = "$(kept SPAWNER_SUBNET)" ] && taken "$SPAWNER_SUBNET"; }; then
    SPAWNER_SUBNET=$(free_subnet) || die "found no free subnet: name one by SPAWNER_SUBNET=10.x.0.0/16"
  fi
  divide_subnet
  if [ -n "$present" ] && [ "$present" != "$SPAWNER_NETWORK_SUBNET" ]; then
    if [ -z "$(docker network ls -q --filter "name=^$SPAWNER_NETWORK\$" --filter "label=com.docker.compose.project=$SPAWNER_PROJECT")" ]; then
      die "the network $SPAWNER_NETWORK is there already and belongs to something else: remove it, or choose another name by SPAWNER_NETWORK"
    fi
    die "the network $SPAWNER_NETWORK is there with subnet $present: run ./build_project.sh down before it can become $SPAWNER_NETWORK_SUBNET"
  fi
  if [ -z "$present" ] && taken "$SPAWNER_SUBNET"; then
    die "the subnet $SPAWNER_SUBNET overlaps one that this machine uses: choose another by SPAWNER_SUBNET"
  fi
}

# divide_subnet checks SPAWNER_SUBNET and sets the variables of docker-compose.yml.
divide_subnet() {
  local pattern='^([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})\.([0-9]{1,3})/([0-9]{1,2})$'
  [[ $SPAWNER_SUBNET =~ $pattern ]] || die "SPAWNER_SUBNET must be like 10.89.0.0/16, not $SPAWNER_SUBNET"
  local bits=${BASH_REMATCH[5]} first
  for part in "${BASH_REMATCH[@]:1:4}"; do
    [ "$part" -le 255 ] || die "SPAWNER_SUBNET must be like 10.89.0.0/16, not $SPAWNER_SUBNET"
  done
  if [ "$bits" -lt 16 ] || [ "$bits" -gt 24 ]; then die "SPAWNER_SUBNET must be a /16 to /24, not $SPAWNER_SUBNET"; fi
  first=$(to_number "${SPAWNER_SUBNET%/*}")
  if [ $((first % (1 << (32 - bits)))) -ne 0 ]; then die "SPAWNER_SUBNET must begin where a /$bits begins, not at ${SPAWNER_SUBNET%/*}"; fi
  local half=$((1 << (31 - bits)))
  local strangers=$((bits + 4 > 24 ? bits + 4 : 24)) # 256 of them; of a small block a sixteenth
  SPAWNER_NETWORK_SUBNET=${SPAWNER_SUBNET%/*}/$((bits + 1))
  SPAWNER_NETWORK_RANGE=${SPAWNER_SUBNET%/*}/$strangers
  SPAWNER_CONTROL_SUBNET=$(to_address $((first + half)))/$((bits + 1 > 24 ? bits + 1 : 24))
  SPAWNER_CONTROL_ADDRESS=$(to_address $((first + half + 2)))
  SPAWNER_CONTROL_EDGE=$(to_address $((first + half + 3)))
  SPAWNER_CONTROL_MONITOR=$(to_address $((first + half + 4))) # of examples/monitoring
  kept_names+=(SPAWNER_NETWORK_SUBNET SPAWNER_NETWORK_RANGE SPAWNER_CONTROL_SUBNET SPAWNER_CONTROL_ADDRESS SPAWNER_CONTROL_EDGE SPAWNER_CONTROL_MONITOR)
}

# free_subnet prints a /16 that overlaps nothing that this machine uses.
free_subnet() {
  local second used
  used=$(used_ranges)
  for second in {210..254} {128..209} {64..127}; do
    if ! overlaps "10.$second.0.0/16" "$used"; then
      printf '10.%s.0.0/16' "$second"
      return
    fi
  done
  return 1
}

# taken SUBNET: whether this machine uses a part of it.
taken() { overlaps "$1" "$(used_ranges)"; }

# overlaps SUBNET RANGES: whether it shares an address with one of "first last" a line.
overlaps() {
  local bits=${1#*/} first last from to
  first=$(to_number "${1%/*}")
  last=$((first + (1 << (32 - bits)) - 1))
  while read -r from to; do
    if [ -n "$from" ] && [ "$first" -le "$to" ] && [ "$from" -le "$last" ]; then return 0; fi
  done <<<"$2"
  return 1
}

# used_ranges prints "first last" for each route of this machine but the default
# one, and for each subnet of a Docker network.
used_ranges() {
  local iface destination mask _
  while read -r iface destination _ _ _ _ _ mask _; do
    case $iface$mask in Iface* | *00000000) continue ;; esac
    destination=$((16#${destination:6:2}${destination:4:2}${destination:2:2}${destination:0:2}))
    mask=$((16#${mask:6:2}${mask:4:2}${mask:2:2}${mask:0:2}))
    printf '%s %s\n' "$destination" $((destination + (mask ^ 0xffffffff)))
  done </proc/net/route
  local networks subnet
  mapfile -t networks < <(docker network ls -q)
  [ ${#networks[@]} -gt 0 ] || return 0
  while read -r subnet; do
    case $subnet in *.*/*) ;; *) continue ;; esac
    destination=$(to_number "${subnet%/*}")
    printf '%s %s\n' "$destination" $((destination + (1 << (32 - ${subnet#*/})) - 1))
  done < <(docker network inspect --format '{{range .IPAM.Config}}{{.Subnet}}{{"\n"}}{{end}}' "${networks[@]}" 2>/dev/null)
}

# network_subnet NAME prints the subnet of a network, nothing when there is none.
network_subnet() {
  docker network inspect --format '{{range .IPAM.Config}}{{.Subnet}}{{end}}' "$1" 2>/dev/null || true
}

to_number() {
  local a b c d
  IFS=. read -r a b c d <<<"$1"
  printf '%s' $(((10#$a << 24) + (10#$b << 16) + (10#$c << 8) + 10#$d))
}

to_address() { printf '%s.%s.%s.%s' $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) $(($1 >> 8 & 255)) $(($1 & 255)); }
