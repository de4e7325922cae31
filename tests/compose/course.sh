#!/usr/bin/env bash
# docs/containers.md, typed and compared line by line. It uses the names that the page uses, so nothing of the project
# "longshore" may be there before.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
unset COMPOSE_FILE COMPOSE_PROFILES COMPOSE_PROJECT_NAME

there=$(docker ps --all --quiet --filter label=com.docker.compose.project=longshore && docker volume ls --quiet --filter name='^longshore_data$')
if [[ -n $there ]]; then
  printf 'a project "longshore" is there already, and the course would remove it. If it may go: docker compose down --volumes\n' >&2
  exit 1
fi
clean() {
  docker compose --project-directory "$root" --profile '*' down --volumes --timeout 5
  docker rm --force --volumes first second api lesson-db
  docker network rm lesson
}
trap 'clean >/dev/null 2>&1 || true' EXIT
python3 -B "$here/course.py" "$root/docs/containers.md"
