# shellcheck shell=bash
# What is said to the person at the terminal.

# step TEXT: what is being done now.
step() { printf '==> %s\n' "$*"; }

# note TEXT: something worth knowing about a step.
note() { printf '    %s\n' "$*"; }

# die TEXT: one line that says what to do, and the end.
die() {
  printf 'build_project.sh: %s\n' "$*" >&2
  exit 1
}

# quietly COMMAND…: runs it and shows its output only when it fails.
quietly() {
  local output
  if ! output=$("$@" 2>&1); then
    printf '%s\n' "$output" >&2
    return 1
  fi
}

# have COMMAND: whether it is installed.
have() { command -v "$1" >/dev/null 2>&1; }
