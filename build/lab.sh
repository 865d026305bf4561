# shellcheck shell=bash
# Real engines on this machine, to try a cluster with and to break.

run_lab() {
  require_go
  mkdir -p bin
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o bin/lab ./test/lab/command
  case ${1:-} in
    up)
      as_root bin/lab "$@"
      join_lab
      ;;
    join) join_lab ;;
    down)
      local engines
      engines=$(as_root bin/lab credentials 2>/dev/null || :)
      as_root bin/lab "$@"
      leave_lab <<<"$engines"
      ;;
    *) as_root bin/lab "$@" ;;
  esac
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
    return
  fi
  have sudo || die "a lab needs root, to make network namespaces and to run engines: run this as root"
  sudo --preserve-env=SPAWNER_LAB "$@"
}

# installation_answers: whether this folder's spawner is up.
installation_answers() { [ -x bin/spawner ] && [ -f "$state/env" ] && bin/spawner node ls >/dev/null 2>&1; }

# endpoint_of NAME: the endpoint that node ls (standard input) tells of that node;
# nothing when there is none. Two labs give their nodes the same names.
endpoint_of() {
  awk -v name="$1" '$1 == name { for (i = 2; i <= NF; i++) if ($i ~ /^(tcp|ssh|unix):\/\//) { print $i; exit } }'
}

# join_lab makes the engines nodes of this folder's installation, if it is up.
join_lab() {
  local node endpoint address ca cert key known has
  if ! installation_answers; then
    cat <<TEXT

The engines run. To make them nodes:

    ./build_project.sh up            start the installation, if it is not up
    ./build_project.sh lab join      make them its nodes
TEXT
    return
  fi
  step "Making them nodes"
  known=$(bin/spawner node ls)
  while read -r node endpoint address ca cert key; do
    has=$(endpoint_of "$node" <<<"$known")
    if [ "$has" = "$endpoint" ]; then
      note "$node is a node already"
      continue
    fi
    if [ -n "$has" ]; then
      note "$node, at $endpoint, is not made a node: another one has that name, at $has. bin/spawner node rm $node lets that one go; then ./build_project.sh lab join"
      continue
    fi
    bin/spawner node add "$node" --endpoint "$endpoint" --address "$address" \
      --tls-ca "$ca" --tls-cert "$cert" --tls-key "$key" --label lab="${SPAWNER_LAB:-lab}"
  done < <(as_root bin/lab credentials)
  cat <<TEXT

It is a cluster. Type

    bin/spawner node ls                                       the nodes
    bin/spawner deploy --name web --image mock-app:latest --host web.localhost --replicas 6
    bin/spawner inspect web                                   which replica is where
    ./build_project.sh lab kill node-2                        take a node's power
    bin/spawner events -f                                     see it noticed, and its replicas placed elsewhere
    ./build_project.sh lab heal node-2                        give it back
    ./build_project.sh lab help                               what else can be broken
    ./build_project.sh lab down                               the end
TEXT
}

# leave_lab takes engines that are gone, as bin/lab credentials lists them, from this
# folder's installation, if it is up. They are gone first: one that leaves while
# others are there hands what it has to the next.
leave_lab() {
  local node endpoint known
  installation_answers || return 0
  known=$(bin/spawner node ls)
  while read -r node endpoint _; do
    [ -n "$node" ] || continue # there was no lab
    [ "$(endpoint_of "$node" <<<"$known")" = "$endpoint" ] || continue # not a node, or one of another lab
    bin/spawner node rm "$node" --force </dev/null || note "$node stays a node that is not there; bin/spawner node rm $node --force removes it"
  done
}
