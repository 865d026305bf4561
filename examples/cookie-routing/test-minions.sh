#!/usr/bin/env bash
# Asks each of minion-1 to minion-n (3 by default) and prints what answered; one that sleeps wakes.
set -euo pipefail
# shellcheck source=examples/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/../settings.sh"

for i in $(seq 1 "$count"); do
  echo "--- minion-$i"
  fetch -k --cookie "instance=minion-$i" "$EDGE_TLS_URL/" # -k: the edge shows its default certificate
done
exit "$failed"
