# shellcheck shell=bash
# What must hold before a change is good; .ci/run calls exactly this.

run_checks() {
  local part=${1:-all}
  [ $# -eq 0 ] || shift
  require_go
  require_cc
  case $part in
    all)
      check_sources
      check_scripts
      check_rules
      require_docker
      unit_tests
      end_to_end_tests "$@"
      ;;
    unit)
      check_sources
      check_scripts
      check_rules
      unit_tests "$@"
      ;;
    e2e)
      require_docker
      end_to_end_tests "$@"
      ;;
    *) die "test takes unit or e2e, not $part" ;;
  esac
  step "All is well"
}

check_sources() {
  step "Format"
  local badly
  badly=$(gofmt -l ./*.go bench build fleet mock-app probes proxyhook sandbox scheduler spawner test 2>/dev/null)
  [ -z "$badly" ] || die "not formatted by gofmt: $(tr '\n' ' ' <<<"$badly")"
  step "Vet and lint"
  build_tool lint
  go vet -tags e2e ./...
  go vet -vettool="$cache/$lint_program" -tags e2e ./...
  build_tool unused # what nothing uses has to be understood and kept right for nothing
  "$cache/$unused_program" -checks U1000 -tags e2e ./...
}

check_scripts() {
  if ! have shellcheck; then
    note "shellcheck is not installed: the scripts are not checked"
    return
  fi
  step "Scripts"
  shellcheck -x -a build_project.sh
  shellcheck -x .ci/run examples/*.sh examples/*/*.sh
}

# check_rules: by Prometheus' own tool, of Debian's package prometheus.
check_rules() {
  if have promtool; then
    step "Alert rules"
    promtool check rules examples/monitoring/alerts.yml
    promtool test rules build/alerts_test.yml
    promtool check config --syntax-only examples/monitoring/prometheus.yml
  fi
}

unit_tests() {
  step "Unit tests"
  go test -race -shuffle=on "$@" ./...
  [ $# -gt 0 ] && return
  step "Histories of random faults"
  go test -count=1 ./spawner/engine -run AfterAnyHistory -rapid.checks=1000 -rapid.nofailfile
}

end_to_end_tests() {
  require_local_engine
  build_binaries
  build_images
  build_tool traefik
  build_tool pebble
  build_tool pebble-challtestsrv
  step "End-to-end tests"
  local packages
  mapfile -t packages < <(grep -rl --include='*_test.go' '^//go:build e2e' . | xargs -r -n 1 dirname | sort -u)
  # One package at a time: they share the engine, and measure times.
  SPAWNER_BUILT=$root go test -tags e2e -count=1 -p 1 -timeout 60m "$@" "${packages[@]}"
}

run_bench() {
  require_go
  require_cc
  require_docker
  require_local_engine
  build_binaries
  build_images
  build_tool traefik
  step "Benchmarks"
  SPAWNER_BUILT=$root go run ./bench "$@"
}
