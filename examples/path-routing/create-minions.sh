#!/usr/bin/env bash
# Creates the instances minion-1 to minion-n (3 by default) by the direct-routing API.
set -euo pipefail
# shellcheck source=examples/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/../settings.sh"

# payload NUMBER
payload() {
  cat <<JSON
{"name": "minion-$1", "network": "$NETWORK", "image": "mock-app:latest",
 "labels": {"healthcheck": "http://minion-$1:9000/status", "traefik.enable": "true",
  "traefik.http.routers.minion-$1.entrypoints": "web",
  "traefik.http.routers.minion-$1.rule": "PathPrefix(\`/minion-$1\`)",
  "traefik.http.routers.minion-$1.middlewares": "minion-$1-context",
  "traefik.http.middlewares.minion-$1-context.replacepathregex.regex": "^/minion-$1(.*)",
  "traefik.http.middlewares.minion-$1-context.replacepathregex.replacement": "\${1}"},
 "envs": {"CONNSTR": "db $1", "IDLE": "${IDLE:-1m}"}}
JSON
}

for i in $(seq 1 "$count"); do
  api POST /deploy/ "$(payload "$i")"
done
exit "$failed"
