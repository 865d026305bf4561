# shellcheck shell=bash
# Static binaries in bin/, and the tools that take long to build in the cache.

traefik_version=v3.7.9

# build_binaries: the same sources give the same bytes, wherever they are built.
build_binaries() {
  step "Building the binaries"
  mkdir -p bin
  local version flags
  version=$(git describe --tags --always --dirty=-changed 2>/dev/null || printf 'unknown')
  flags=(-trimpath -buildvcs=false)
  # SQLite is C. The resolver and the user database of libc cannot be linked
  # statically, and SQLite's extensions would need a dynamic loader.
  CGO_ENABLED=1 go build "${flags[@]}" -tags 'netgo osusergo sqlite_omit_load_extension' \
    -ldflags "-s -w -linkmode external -extldflags -static -X edgespawner/spawner/cli.Version=$version" -o bin/spawner ./spawner
  CGO_ENABLED=0 go build "${flags[@]}" -ldflags '-s -w' -o bin/sandbox ./sandbox
  CGO_ENABLED=0 go build "${flags[@]}" -ldflags '-s -w' -o bin/mock-app ./mock-app
  CGO_ENABLED=0 go build "${flags[@]}" -ldflags '-s -w' -o bin/mock-home ./mock-app/home
}

# build_tool NAME: into the cache, unless it is there.
build_tool() {
  case $1 in
    traefik) tool "traefik-$traefik_version" third_party/traefik github.com/traefik/traefik/v3/cmd/traefik 'the edge, Traefik (some minutes, once)' ;;
    pebble) tool pebble third_party/pebble github.com/letsencrypt/pebble/v2/cmd/pebble 'Pebble, the ACME server of the tests' ;;
    pebble-challtestsrv) tool pebble-challtestsrv third_party/pebble github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv 'the name server of the tests' ;;
    lint) lint_program=lint-$(cat build/lint/*.go build/lint/go.* | sha256sum | cut -c1-12)
      tool "$lint_program" build/lint . 'the linters' ;;
    unused) unused_program=unused-$(sha256sum <build/lint/go.sum | cut -c1-12)
      tool "$unused_program" build/lint honnef.co/go/tools/cmd/staticcheck 'the finder of unused code' ;;
    *) die "there is no tool $1: traefik, pebble, pebble-challtestsrv, lint or unused" ;;
  esac
}

# tool FILE MODULE-FOLDER PACKAGE WHAT. Of two runs that lack the same tool, the
# second waits for what the first builds.
tool() {
  [ ! -x "$cache/$1" ] || return 0
  mkdir -p "$cache"
  (
    if command -v flock >/dev/null; then flock 9; fi
    [ ! -x "$cache/$1" ] || exit 0
    step "Building $4"
    cd "$2" &&
      CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o "$cache/$1.new" "$3" &&
      mv "$cache/$1.new" "$cache/$1"
  ) 9>"$cache/$1.lock"
}
