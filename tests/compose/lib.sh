# What the compose tests have in common; sourced by each.
#
# Each uses a project name and a port of its own, so that it may run beside another Longshore, and removes what it has
# made. They need Docker with Compose, curl and python3, and the images that tests/compose/run.sh builds.
# shellcheck shell=bash
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

export DOCKER_BUILDKIT=1 COMPOSE_ANSI=never
# Compose reads these; port 0 is any free one.
export COMPOSE_FILE="$root/docker-compose.yml:$here/override.yml" COMPOSE_PROJECT_NAME="longshore-test-$$" LONGSHORE_PORT=0
unset COMPOSE_PROFILES LONGSHORE_DB

# ------------------------------------------------------------------------------------------------------------ words
say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}
# is WHAT EXPECTED ACTUAL
is() {
  [[ $3 == "$2" ]] || fail "$1: expected \"$2\", got \"$3\""
  say "ok: $1"
}
sql() { docker compose exec -T --env PGCLIENTENCODING=UTF8 db psql -qAtX -v ON_ERROR_STOP=1 -U demo -d demo -c "$1"; }
# eventually WHAT SECONDS EXPECTED COMMAND…: until the command prints what is expected.
eventually() {
  local what=$1 until=$((SECONDS + $2)) expected=$3 got=
  shift 3
  until got=$("$@" 2>&1) && [[ $got == "$expected" ]]; do
    ((SECONDS < until)) || fail "$what: expected \"$expected\", at last got \"$got\""
    sleep 0.3
  done
  say "ok: $what"
}
# find_api: where the API is published; another port after each start, since it takes any free one.
find_api() { api=http://$(docker compose port api 8000); }
# request EXPECTED-STATUS METHOD PATH [CONTENT-TYPE BODY|@FILE]: prints the answer.
request() {
  local expected=$1 method=$2 path=$3 status
  local body=()
  (($# < 5)) || body=(--header "content-type: $4" --data-binary "$5")
  status=$(curl --silent --show-error --max-time 60 --output "$work/answer" --write-out '%{http_code}' \
    --request "$method" "${body[@]}" "$api$path") || fail "$method $path: no answer"
  [[ $status == "$expected" ]] || fail "$method $path: expected status $expected, got $status: $(head -c 2000 "$work/answer")"
  cat "$work/answer"
}
# field EXPRESSION: a Python expression over the JSON document `it` on standard input.
field() {
  local text
  text=$(cat)
  python3 -c "import json, sys; it = json.load(sys.stdin); print($1)" <<<"$text" 2>/dev/null || fail "no $1 in: ${text:0:500}"
}
# inspect FORMAT CONTAINER
inspect() { docker inspect --format "$1" "$2"; }
# nap COUNT LENGTH: enqueues jobs that take their time.
nap() {
  local i
  for ((i = 0; i < $1; i++)); do printf '{"kind": "sleep", "queue": "naps", "args": {"for": "%s"}}\n' "$2"; done >"$work/naps.ndjson"
  request 201 POST /v1/jobs/batch application/x-ndjson "@$work/naps.ndjson" >"$work/answer-naps"
}
# busiest CONDITION: "container number-of-its-running-jobs", of the worker with most of those jobs.
busiest() {
  sql "select w.host, count(*) from longshore.running r join longshore.workers w using (worker) join longshore.jobs j using (id)
        where $1 group by 1 order by 2 desc, 1 limit 1" | tr '|' ' '
}

# all_done: no job waits or runs any more.
all_done() { sql "select coalesce(sum(available + running + scheduled + retryable), 0) from longshore.queues_overview"; }
# container SERVICE [INDEX]: its id.
container() {
  docker ps --all --quiet --no-trunc --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
    --filter "label=com.docker.compose.service=$1" --filter "label=com.docker.compose.container-number=${2:-1}"
}
# sigkill CONTAINER…: from outside, as the kernel does when memory runs out. After `docker kill` the engine would take it
# for our wish and start nothing again.
sigkill() {
  local container pids=
  for container; do pids+=" $(inspect '{{.State.Pid}}' "$container")"; done
  docker run --rm --network none --pid host --entrypoint bash longshore-worker:latest -c "kill -KILL $pids"
}

# ---------------------------------------------------------------------------------------------------------- cleaning
work=$(mktemp -d)
extra=() # containers that are not of the project
finish() {
  local status=$?
  trap - EXIT INT TERM
  if ((status != 0)); then
    printf '\n--- what ran, and the last lines of its logs\n'
    docker compose ps --all || true
    docker compose logs --no-color --tail 40 || true
  fi >&2
  ((${#extra[@]} == 0)) || docker rm --force --volumes "${extra[@]}" >/dev/null 2>&1 || true
  docker compose --profile '*' down --volumes --remove-orphans --timeout 20 >"$work/down" 2>&1 || {
    cat "$work/down" >&2
    printf 'could not remove the project %s\n' "$COMPOSE_PROJECT_NAME" >&2
    ((status != 0)) || status=1
  }
  rm -rf "$work"
  if ((status == 0)); then say "passed: $summary"; else printf '%s FAILED, see above\n' "$0" >&2; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
summary=

