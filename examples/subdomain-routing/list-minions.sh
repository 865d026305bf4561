#!/usr/bin/env bash
# Lists the instances, running or not.
set -euo pipefail
# shellcheck source=examples/settings.sh
. "$(dirname "${BASH_SOURCE[0]}")/../settings.sh"

api GET /deploy/
exit "$failed"
