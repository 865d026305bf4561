# shellcheck shell=bash
# Whose it is what stands on the engine under this installation's name: another
# folder may have the same name, and its things must be left alone.

# installed prints "fleet folder" of each part of an installation of this name.
installed() {
  docker ps -a --filter "label=com.docker.compose.project=$SPAWNER_PROJECT" --filter label=spawner.role \
    --format '{{.Label "spawner.fleet"}} {{.Label "com.docker.compose.project.working_dir"}}' 2>/dev/null || true
}

# fleet_of_this_folder prints the id of what this folder has started, for one
# that has lost its .spawner (git clean takes it).
fleet_of_this_folder() {
  local fleet folder
  while read -r fleet folder; do
    if [ "$folder" -ef "$root" ] || [ "$folder/../.." -ef "$root" ]; then # started here, or in an example's folder
      printf '%s' "$fleet"
      return
    fi
  done < <(installed)
}

# other_installation says whose the name is, nothing when it is free or ours.
other_installation() {
  local fleet folder volume=${SPAWNER_PROJECT}_state
  while read -r fleet folder; do
    if [ "$fleet" != "$SPAWNER_FLEET" ]; then
      printf 'an installation named %s is here already, from the folder %s: run ./build_project.sh down there, or name this one by SPAWNER_PROJECT and SPAWNER_NETWORK' "$SPAWNER_PROJECT" "$folder"
      return
    fi
  done < <(installed)
  if [ "$fleet_is_new" = yes ] && docker volume inspect "$volume" >/dev/null 2>&1; then
    printf 'the state of an earlier installation named %s is here without its folder .spawner: put that back, or remove the state (docker volume rm %s %s_acme), or name this one by SPAWNER_PROJECT and SPAWNER_NETWORK' \
      "$SPAWNER_PROJECT" "$volume" "$SPAWNER_PROJECT"
  fi
}

# require_own_installation ends the script where another one is in the way.
require_own_installation() {
  local other
  other=$(other_installation)
  [ -z "$other" ] || die "$other"
}
