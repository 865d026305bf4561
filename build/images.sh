# shellcheck shell=bash
# Images from scratch: a static binary and nothing else. An image says by a label
# what it was made of, and is made again only when that has changed.

traefik_official=traefik:$traefik_version
traefik_built=spawner-traefik:$traefik_version

build_images() {
  step "Building the images"
  image spawner:latest spawner bin/spawner bin/sandbox
  image spawner-sandbox:latest sandbox bin/sandbox
  image mock-app:latest mock-app bin/mock-app
  image mock-home:latest mock-home bin/mock-home
}

# image TAG DOCKERFILE FILES…: the files are all that the Dockerfile can copy.
image() {
  local tag=$1 name=$2 dockerfile=build/images/$2.Dockerfile content context
  shift 2
  content=$(cat "$dockerfile" "$@" | sha256sum | cut -d' ' -f1)
  if [ "$(docker image inspect --format '{{index .Config.Labels "build.content"}}' "$tag" 2>/dev/null)" = "$content" ]; then
    return
  fi
  note "$tag"
  context=$(mktemp -d bin/context.XXXXXX)
  cp "$dockerfile" "$context/Dockerfile"
  cp "$@" "$context/"
  chmod 0755 "$context"/*
  if ! quietly docker build -q --label "build.content=$content" --label "build.of=$name" -t "$tag" "$context"; then
    rm -rf "$context"
    die "cannot build the image $tag"
  fi
  rm -rf "$context"
}

# remove_replaced_images removes what image has made earlier under a tag that
# is another image's now, unless a container uses it. Those of mock-app stay:
# services are rolled back to them.
remove_replaced_images() {
  local name
  for name in spawner sandbox mock-home traefik; do
    docker image prune -f --filter "label=build.of=$name" >/dev/null 2>&1 || true # one prune at a time is all that an engine does
  done
}

# get_traefik sets SPAWNER_TRAEFIK_IMAGE: the one of the last run, else the
# official image where a registry can be reached, else one that is built here.
get_traefik() {
  local chosen=$SPAWNER_TRAEFIK_IMAGE
  if [ -n "$chosen" ] && [ "$chosen" != "$traefik_built" ] && on_engine "$chosen"; then return; fi
  if [ "$chosen" != "$traefik_built" ]; then
    chosen=${chosen:-$traefik_official}
    if on_engine "$chosen" || pull "$chosen"; then
      SPAWNER_TRAEFIK_IMAGE=$chosen
      return
    fi
    [ "$chosen" = "$traefik_official" ] || die "cannot pull $chosen: unset SPAWNER_TRAEFIK_IMAGE, or name an image that is there"
    note "no registry answers: Traefik $traefik_version from its Go module instead"
  fi
  build_tool traefik
  mkdir -p bin
  ln -f "$cache/traefik-$traefik_version" bin/traefik 2>/dev/null || cp "$cache/traefik-$traefik_version" bin/traefik
  local authorities
  authorities=$(find_authorities)
  cp "$authorities" bin/ca-certificates.crt
  image "$traefik_built" traefik bin/traefik bin/ca-certificates.crt
  SPAWNER_TRAEFIK_IMAGE=$traefik_built
}

on_engine() { docker image inspect "$1" >/dev/null 2>&1; }

# find_authorities prints the file of certificate authorities of this machine.
find_authorities() {
  local file
  for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/ca-bundle.pem /etc/ssl/cert.pem; do
    if [ -s "$file" ]; then
      printf '%s' "$file"
      return
    fi
  done
  die "this machine has no certificate authorities, which Let's Encrypt needs: $(install_line ca-certificates ca-certificates)"
}

# pull IMAGE: a registry that does not answer costs a few seconds, one that does
# may take two minutes.
pull() {
  local said process waited=0
  step "Pulling $1"
  said=$(mktemp)
  docker pull "$1" >"$said" 2>&1 &
  process=$!
  while kill -0 "$process" 2>/dev/null; do
    if [ "$waited" -ge 80 ] && ! grep -q 'Pulling from' "$said"; then break; fi # 8 s without a word
    if [ "$waited" -ge 1200 ]; then break; fi
    sleep 0.1
    waited=$((waited + 1))
  done
  kill "$process" 2>/dev/null || true
  wait "$process" 2>/dev/null || true
  rm -f "$said"
  on_engine "$1"
}

# build_everything is what ./build_project.sh does without an argument: all but
# the start, which docker compose can do in an example's folder then.
build_everything() {
  local other
  require_go
  require_cc
  require_docker
  require_local_engine
  load_settings
  build_binaries
  build_images
  get_traefik
  other=$(other_installation)
  if [ -n "$other" ]; then
    note "the images are built; before they can be started: $other"
    return
  fi
  choose_subnet
  write_edge
  keep_settings
}
