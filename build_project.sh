#!/usr/bin/env bash
# Builds, starts, tests and takes down the whole product. `./build_project.sh help`
# says what there is; the parts are in build/.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
state=$root/.spawner # what `up` generates
cache=${SPAWNER_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/spawner} # what takes minutes to build
cd "$root"

# shellcheck source=build/say.sh
. build/say.sh
# shellcheck source=build/require.sh
. build/require.sh
# shellcheck source=build/settings.sh
. build/settings.sh
# shellcheck source=build/installation.sh
. build/installation.sh
# shellcheck source=build/subnet.sh
. build/subnet.sh
# shellcheck source=build/binaries.sh
. build/binaries.sh
# shellcheck source=build/images.sh
. build/images.sh
# shellcheck source=build/edge.sh
. build/edge.sh
# shellcheck source=build/ports.sh
. build/ports.sh
# shellcheck source=build/stack.sh
. build/stack.sh
# shellcheck source=build/checks.sh
. build/checks.sh
# shellcheck source=build/lab.sh
. build/lab.sh

usage() {
  cat <<'TEXT'
usage: ./build_project.sh [COMMAND]

  (none)            build the binaries and all images
  up                build, start the whole on this machine, deploy the demo
  down [--volumes]  remove what `up` made; --volumes: the state too
  test [unit|e2e [GO TEST FLAGS]]
                    format, vet, lint, unit tests, end-to-end tests; or one of the two
  bench [ARGS]      run the benchmarks
  lab COMMAND       real Docker engines on this machine, to try a cluster with and to
                    break: up N, ls, cut, freeze, kill, heal, down (lab help tells all)
  compose ARGS      docker compose with the settings of this installation
  binaries          build bin/ only
  tool NAME         build a tool into the cache: traefik, pebble, pebble-challtestsrv, lint, unused
  help              this

Settings, kept in .spawner/compose.env from one run to the next:
  SPAWNER_HTTP_PORT (80)  SPAWNER_HTTPS_PORT (443)  SPAWNER_API_PORT (8008, on 127.0.0.1 only)
  SPAWNER_SUBNET          a free IPv4 subnet for the containers, /16 to /24 (default: one that is free)
  SPAWNER_NETWORK         the network that services share (traefiknet)
  SPAWNER_PROJECT         the name of this installation (spawner)
  SPAWNER_ACME_EMAIL      your address for Let's Encrypt
  SPAWNER_ACME_CA_SERVER  staging (default), production, or a URL
  SPAWNER_ACME_CHALLENGE  http (default), tls, or dns:PROVIDER (credentials: .spawner/edge.env)
  SPAWNER_COOKIE_FALLBACK_URL   where clients without a service are sent (default: 404)
and SPAWNER_CACHE, the folder of tools that take minutes to build (~/.cache/spawner).
TEXT
}

command=${1:-images}
[ $# -eq 0 ] || shift
case $command in
  images) build_everything ;;
  binaries) require_go; require_cc; build_binaries ;;
  up) up "$@" ;;
  down) down "$@" ;;
  test) run_checks "$@" ;;
  bench) run_bench "$@" ;;
  lab) run_lab "$@" ;;
  compose) require_docker; require_compose; load_settings; compose "$@" ;;
  tool) require_go; build_tool "${1:?which tool? traefik, pebble, pebble-challtestsrv, lint or unused}" ;;
  help | -h | --help) usage ;;
  *) usage >&2; die "unknown command: $command" ;;
esac
