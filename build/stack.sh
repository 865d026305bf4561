# shellcheck shell=bash
# Starting the whole with docker compose, and taking it down again.

demo_host=demo.localhost

compose() {
  write_env_files # an installation of before may lack one
  "${compose_command[@]}" --env-file "$settings_file" -p "$SPAWNER_PROJECT" -f "$root/docker-compose.yml" "$@"
}

up() {
  [ $# -eq 0 ] || die "up takes no argument; its settings are environment variables (./build_project.sh help)"
  local anew=()
  require_docker
  require_local_engine
  require_compose
  require_go
  require_cc
  load_settings
  require_own_installation
  choose_subnet
  check_ports
  build_binaries
  build_images
  get_traefik
  write_edge
  keep_settings
  step "Starting"
  # What runs with lost settings has tokens that nobody knows any more.
  if [ "$fleet_is_found" = yes ]; then anew=(--force-recreate); fi
  quietly compose up -d --remove-orphans "${anew[@]}" || die "docker compose could not start the whole; what it said stands above"
  wait_ready
  write_env
  deploy_demo
  remove_replaced_images
  say_next
}

# http_status PORT HOST PATH prints the status of an answer of this machine, 000 for none.
http_status() {
  local answer
  answer=$(
    exec 2>/dev/null
    # shellcheck disable=SC2016 # the inner shell expands them
    timeout 10 bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" "$2" "$1" >&3 && head -n 1 <&3' "$@"
  ) || true
  case $answer in
    HTTP/1.*) printf '%s' "${answer:9:3}" ;;
    *) printf '000' ;;
  esac
}

# wait_for SECONDS WHAT COMMAND…: until the command succeeds.
wait_for() {
  local deadline=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    if [ "$SECONDS" -ge "$deadline" ]; then return 1; fi
    if [ -n "$(compose ps -q spawner)" ] && [ -z "$(docker ps -q --filter "label=com.docker.compose.project=$SPAWNER_PROJECT" --filter label=spawner.role=spawner)" ]; then
      note "the spawner is not running; waiting for it to be started again ($what)"
      sleep 1
    fi
    sleep 0.2
  done
}

wait_ready() {
  step "Waiting until it is ready"
  wait_for 60 'ready' answers "$SPAWNER_API_PORT" localhost /readyz 200 || not_ready "the spawner is not ready after 60 s"
  wait_for 30 'home' answers "$SPAWNER_HTTP_PORT" localhost /home 200 || not_ready "Traefik does not answer on port $SPAWNER_HTTP_PORT after 30 s"
}

# answers PORT HOST PATH STATUS
answers() { [ "$(http_status "$1" "$2" "$3")" = "$4" ]; }

not_ready() {
  compose logs --no-color --tail 20 spawner traefik >&2 || true
  die "$1: the last lines of its log stand above"
}

# write_env leaves URL and token for the command line and for curl.
write_env() {
  local container token
  container=$(compose ps -q spawner)
  token=$(docker cp "$container:/var/lib/spawner/admin-token" - | tar -xO) || die "cannot read the admin token out of the spawner's state"
  write_if_changed "$state/env" "export SPAWNER_URL='http://127.0.0.1:$SPAWNER_API_PORT'
export SPAWNER_TOKEN='$token'"
}

# deploy_demo deploys the demo service and sees it answer. One that is there stays
# what you made of it: asleep, it is not woken; led to by another host, not asked.
deploy_demo() {
  case $(demo_status) in
    '')
      step "Deploying the demo service"
      bin/spawner deploy -f build/demo.json || die "the demo service could not be deployed: bin/spawner events tells more"
      wait_for 30 'demo' answers "$SPAWNER_HTTP_PORT" "$demo_host" / 200 ||
        not_ready "the demo does not answer on port $SPAWNER_HTTP_PORT; bin/spawner why demo tells more"
      ;;
    running) wait_for 30 'demo' answers "$SPAWNER_HTTP_PORT" "$demo_host" / 200 ||
      note "the demo runs and does not answer at $demo_host; bin/spawner why demo tells more" ;;
    *) wait_for 30 'demo' demo_settled || note "the demo is $(demo_status); bin/spawner why demo tells more" ;;
  esac
}

# demo_status prints the demo's status, nothing when there is no demo.
demo_status() { bin/spawner ps | awk '$1 == "demo" { print $2 }'; }

demo_settled() { case $(demo_status) in running | asleep | dozing | stopped) ;; *) return 1 ;; esac }

say_next() {
  local port=''
  [ "$SPAWNER_HTTP_PORT" = 80 ] || port=:$SPAWNER_HTTP_PORT
  cat <<TEXT

It is up. Open

    http://$demo_host$port/        the demo service: asleep after 5 idle minutes, awake with the next request

and type

    bin/spawner ps                       what runs
    bin/spawner sleep demo               put it to sleep; then open it again
    bin/spawner events -f                watch what happens
    bin/spawner deploy --name hello --image mock-app:latest --host hello.localhost --sleep-after 5m
    ./build_project.sh down              take it all down; --volumes: with its state

curl users:  . ./.spawner/env; curl -H "Authorization: Bearer \$SPAWNER_TOKEN" "\$SPAWNER_URL/api/services"
TEXT
}

down() {
  local volumes=()
  case ${1:-} in
    '') ;;
    --volumes | -v) volumes=(--volumes) ;;
    *) die "down takes --volumes and nothing else, not $1" ;;
  esac
  require_docker
  require_compose
  load_settings
  if [ "$fleet_is_new" = yes ]; then
    rmdir "$state" 2>/dev/null || true
    note "nothing is up: this folder has started nothing"
    return
  fi
  require_own_installation
  if [ "$fleet_is_found" = yes ]; then # compose wants them all, even to stop
    choose_subnet
    write_edge
    keep_settings
  fi
  step "Stopping"
  quietly compose stop spawner || die "cannot stop the spawner; what docker compose said stands above"
  remove_fleet
  quietly compose down --remove-orphans "${volumes[@]}" || die "docker compose could not take everything down; what it said stands above"
  remove_labelled network # the edge was on them until now
  remove_lease_image
  if [ ${#volumes[@]} -gt 0 ]; then
    remove_labelled volume
    rm -rf "$state"
  fi
}

# remove_fleet removes the replicas that this installation's spawner has made;
# with its state it makes them again at the next up.
remove_fleet() {
  local ids said='' round
  for round in 1 2 3 4; do # the engine may still be creating what the spawner has asked for last
    mapfile -t ids < <(docker ps -aq --filter "label=spawner.fleet=$SPAWNER_FLEET" --filter label=origin=spawner)
    [ ${#ids[@]} -gt 0 ] || break
    [ "$round" -lt 4 ] || die "cannot remove all replicas: $said"
    said=$(docker rm -f -v "${ids[@]}" 2>&1 >/dev/null) || true # one that goes meanwhile is no mistake
  done
}

# remove_lease_image removes the image that a spawner makes for its lease. The
# engine refuses while the lease of another installation uses it.
remove_lease_image() { docker image rm spawner-lease:latest >/dev/null 2>&1 || true; }

# remove_labelled KIND: the networks or volumes that the spawner has made.
remove_labelled() {
  local ids said='' round
  for round in 1 2 3 4 5; do # an engine lets go of what was on them a little later
    mapfile -t ids < <(docker "$1" ls -q --filter "label=spawner.fleet=$SPAWNER_FLEET" --filter label=origin=spawner)
    [ ${#ids[@]} -gt 0 ] || return 0
    [ "$round" -lt 5 ] || die "cannot remove every $1 of the spawner's: $said"
    said=$(docker "$1" rm "${ids[@]}" 2>&1 >/dev/null) || sleep 1
  done
}
