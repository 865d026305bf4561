# shellcheck shell=bash
# What must be on the machine. Each check ends with one line that says what to do.

# install_line PACKAGES-OF-APT PACKAGES-OF-DNF: how to install them here.
install_line() {
  if have dnf && ! have apt-get; then
    printf 'sudo dnf install -y %s' "$2"
  else
    printf 'sudo apt-get install -y %s' "$1"
  fi
}

require_go() {
  have go || die "Go is not installed: get Go 1.26 or newer from https://go.dev/dl/ and put it on the PATH"
}

# require_cc checks that a static C program can be built: SQLite is C, and the
# spawner's image holds nothing but its binary.
require_cc() {
  local cc=${CC:-gcc}
  have "${cc%% *}" || die "gcc is not installed: $(install_line 'gcc libc6-dev' 'gcc glibc-devel glibc-static')"
  local out
  out=$(mktemp)
  # shellcheck disable=SC2086 # CC may hold options
  if ! printf '#include <stdlib.h>\n#include <pthread.h>\nint main(void) { return abs(0); }\n' |
    $cc -static -x c - -o "$out" >/dev/null 2>&1; then
    rm -f "$out"
    die "the headers or the static library of libc are missing: $(install_line 'gcc libc6-dev' 'gcc glibc-devel glibc-static')"
  fi
  rm -f "$out"
}

# require_docker checks that an engine answers, and that it is one that `up` can use.
require_docker() {
  have docker || die "docker is not installed: $(install_line 'docker.io docker-compose' 'moby-engine docker-compose'), or see https://docs.docker.com/engine/install/"
  local answer
  if ! answer=$(timeout 15 docker version --format '{{.Server.Version}} {{.Server.MinAPIVersion}}' 2>&1); then
    explain_engine "$answer"
  fi
  read -r engine_version engine_min_api <<<"$answer"
  require_engine_version
  case $(timeout 15 docker info --format '{{.SecurityOptions}}' 2>/dev/null) in
    *name=rootless*) die "this engine runs rootless, where containers cannot be reached from the host and ports 80 and 443 cannot be bound: use the system's engine (unset DOCKER_HOST, or docker context use default)" ;;
  esac
}

require_engine_version() {
  local major=${engine_version%%.*} minor
  minor=${engine_version#*.}
  minor=${minor%%.*}
  case $major$minor in *[!0-9]*) return ;; esac # a version that is no number is a new one
  if [ "$major" -lt 20 ] || { [ "$major" -eq 20 ] && [ "$minor" -lt 10 ]; }; then
    die "Docker $engine_version is too old: install 20.10 or newer"
  fi
}

# explain_engine ANSWER: why there is none.
explain_engine() {
  local where=${DOCKER_HOST:-unix:///var/run/docker.sock}
  case $1 in
    *[Pp]ermission\ denied*)
      die "no permission to use the Docker engine at $where: sudo usermod -aG docker \"\$USER\", log in anew, and run this again (or run it with sudo)" ;;
    *)
      die "the Docker engine at $where does not answer: start it (sudo systemctl start docker)${DOCKER_HOST:+, or unset DOCKER_HOST if that is not the one you mean}" ;;
  esac
}

# require_local_engine: `up` mounts the engine's socket and files of this folder.
require_local_engine() {
  local host=${DOCKER_HOST:-}
  [ -n "$host" ] || host=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)
  case $host in
    '' | unix://*) docker_socket=${host#unix://} ;;
    *) die "the engine at $host is on another machine, and up starts containers that use files of this one: unset DOCKER_HOST, or run this on that machine" ;;
  esac
  docker_socket=${docker_socket:-/var/run/docker.sock}
}

# require_compose sets compose_command to what is there; SPAWNER_COMPOSE=docker-compose
# prefers the older one where both are.
require_compose() {
  if [ "${SPAWNER_COMPOSE:-docker compose}" = 'docker compose' ] && timeout 15 docker compose version >/dev/null 2>&1; then
    compose_command=(docker compose)
  elif have docker-compose; then
    compose_command=(docker-compose)
    # The library in docker-compose 1 speaks API 1.41 at most; engine 29 wants 1.44.
    case $(docker-compose version --short 2>/dev/null) in
      1.*) [ "${engine_min_api#1.}" -le 41 ] 2>/dev/null ||
        die "docker-compose 1 cannot speak to Docker $engine_version: $(install_line docker-compose-v2 docker-compose), or see https://docs.docker.com/compose/install/" ;;
    esac
  else
    die "docker compose is not installed: $(install_line docker-compose docker-compose), or see https://docs.docker.com/compose/install/"
  fi
}
