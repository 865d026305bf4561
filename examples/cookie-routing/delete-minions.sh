#!/usr/bin/env bash
# Stops and removes minion-1 to minion-n (3 by default).
set -euo pipefail
# shellcheck source=examples/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/../settings.sh"

for i in $(seq 1 "$count"); do
  api DELETE "/deploy/minion-$i"
done
exit "$failed"
