#!/usr/bin/env bash
# The compose test: Longshore as docker-compose.yml starts it, with three workers and a file of 100,000 lines.
#
#   1. build and start; what runs is locked down as it should be
#   2. one job by curl, seen in psql; one by the command line's image
#   3. every line of a real text becomes a job; meanwhile a worker dies; every line comes back exactly once
#   4. a worker with running jobs is stopped: it finishes or hands back, and exits with 0
#   5. all stops cleanly
#
# Needs Docker with Compose, curl and python3. It uses a project name and a port of its own, so that it may run beside
# another Longshore, and removes what it has made. The images longshore-api, longshore-worker and longshore are
# built anew.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

readonly WORKERS=3 LINES=100000 BATCH=10000 NAPS=150
export DOCKER_BUILDKIT=1 COMPOSE_ANSI=never
# Compose reads these; port 0 is any free one.
export COMPOSE_FILE="$root/docker-compose.yml:$here/override.yml" COMPOSE_PROJECT_NAME="longshore-test-$$" LONGSHORE_PORT=0
unset COMPOSE_PROFILES

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

# ---------------------------------------------------------------------------------------------------------- cleaning
work=$(mktemp -d)
finish() {
  local status=$?
  trap - EXIT INT TERM
  if ((status != 0)); then
    printf '\n--- what ran, and the last lines of its logs\n'
    docker compose ps --all || true
    docker compose logs --no-color --tail 40 || true
  fi >&2
  docker compose down --volumes --remove-orphans --timeout 20 >"$work/down" 2>&1 || {
    cat "$work/down" >&2
    printf 'could not remove the project %s\n' "$COMPOSE_PROJECT_NAME" >&2
    ((status != 0)) || status=1
  }
  rm -rf "$work"
  if ((status == 0)); then say "the compose test passed: $summary"; else printf 'the compose test FAILED, see above\n' >&2; fi
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
summary=

for program in docker curl python3; do
  command -v "$program" >/dev/null || fail "the compose test needs $program"
done
docker compose version >/dev/null || fail "the compose test needs Docker Compose (docker compose version)"

# ------------------------------------------------------------------------------------------------ 1. build and start
say "building the images"
arguments=() # where a proxy stands between this machine and the crates, the build needs to know it
for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
  [[ -z ${!name:-} ]] || arguments+=(--build-arg "$name=${!name}")
done
docker compose build "${arguments[@]}"
docker build "${arguments[@]}" --target cli --tag longshore:latest "$root"
say "starting $WORKERS workers"
docker compose up --no-build --detach --wait --scale "worker=$WORKERS"
started=$SECONDS
api=http://$(docker compose port api 8000)
say "ok: healthy; the API is at $api"

is "the API says that it is well" ok "$(request 200 GET /health | field 'it["status"]')"
eventually "$WORKERS workers are alive" 20 "$WORKERS" sql "select count(*) from longshore.workers_overview where alive"
is "the database is not published" "" "$(docker compose port db 5432 2>/dev/null | grep -v ':0$' || true)"
for container in $(docker compose ps --quiet api worker); do
  locked=$(inspect '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.SecurityOpt}}' "$container")
  [[ $locked == '10001:10001 true [ALL] [no-new-privileges:true]' ]] || fail "a program is not locked down: $locked"
done
say "ok: the programs run as a plain user, without capabilities, on a file system that they cannot write to"

# ------------------------------------------------------------------------------------------------------- 2. one job
job=$(request 201 POST /v1/jobs application/json '{"kind": "echo", "args": {"hello": "world"}}' | field 'it["id"]')
eventually "one job succeeded, seen in psql" 10 'succeeded|{"hello": "world"}' sql "select state, result from longshore.jobs where id = $job"

job=$(docker run --rm --read-only --cap-drop ALL --network "${COMPOSE_PROJECT_NAME}_back" \
  --env LONGSHORE_DATABASE__URL=postgres://demo:demo@db:5432/demo longshore:latest enqueue echo '[1, 2]' --json | field 'it["ids"][0]')
eventually "one job of the command line succeeded" 10 'succeeded|[1, 2]' sql "select state, result from longshore.jobs where id = $job"

# -------------------------------------------------------------------------------------- 3. the file, and a dead worker
lines=$(python3 "$here/lines.py" "$work" "$LINES" "$BATCH")
say "a text of $lines lines, each a job"
batches=("$work"/batch-*.ndjson)
kill_after=$((${#batches[@]} / 2))
sent=0
began=$SECONDS
for batch in "${batches[@]}"; do
  count=$(request 201 POST /v1/jobs/batch application/x-ndjson "@$batch" | field 'len(it["ids"])')
  [[ $count == "$(wc -l <"$batch")" ]] || fail "$(basename "$batch"): $count ids for $(wc -l <"$batch") lines"
  sent=$((sent + 1))
  if ((sent == kill_after)); then
    # Naps make certain that whoever dies dies with running jobs. SIGKILL comes from outside the container, as from the
    # kernel when memory runs out: after `docker kill` the engine would take it for our wish and start nothing again.
    # It comes in the background, so that it meets the stream of lines.
    nap "$NAPS" 2s
    until read -r victim held < <(busiest "j.kind = 'sleep'") && ((held >= 5)); do sleep 0.1; done
    say "killing worker $victim, which runs $held naps and its share of the lines"
    docker run --rm --network none --pid host --entrypoint bash longshore-worker:latest \
      -c "kill -KILL $(inspect '{{.State.Pid}}' "$victim")" &
    killer=$!
  fi
done
wait "$killer" || fail "the worker could not be killed"
say "all lines are enqueued"
eventually "the dead worker was started again by the engine" 30 "running 1" inspect '{{.State.Status}} {{.RestartCount}}' "$victim"
eventually "no job waits or runs any more" 90 0 sql \
  "select coalesce(sum(available + running + scheduled + retryable), 0) from longshore.queues_overview"
took=$((SECONDS - began))

is "as many jobs as lines, all succeeded" "$lines|$lines" \
  "$(sql "select count(*), count(*) filter (where state = 'succeeded') from longshore.jobs where queue = 'lines'")"
is "each line is there once" "$lines|1|$lines" \
  "$(sql "select count(distinct n), min(n), max(n) from (select (args->>'line')::int n from longshore.jobs where queue = 'lines') l")"
is "each result is its args, byte for byte" 0 \
  "$(sql "select count(*) from longshore.jobs where queue = 'lines' and result::text is distinct from args::text")"
sql "select result->>'text' from longshore.jobs where queue = 'lines' order by (result->>'line')::int" >"$work/returned.txt"
cmp "$work/lines.txt" "$work/returned.txt" || fail "the results put together are not the text that was sent"
say "ok: the results put together are the text that was sent"
is "all naps succeeded" "$NAPS" "$(sql "select count(*) from longshore.jobs where queue = 'naps' and state = 'succeeded'")"
lost=$(sql "select count(*) from longshore.attempts where outcome = 'lost'")
((lost > 0)) || fail "the killed worker ran $held naps, but no attempt is recorded as lost"
lines_lost=$(sql "select count(*) from longshore.attempts a join longshore.jobs j using (id) where a.outcome = 'lost' and j.queue = 'lines'")
say "ok: $lost attempts were lost with the worker, $lines_lost of them lines of the file, and their jobs ran again"
job=$(sql "select id from longshore.attempts where outcome = 'lost' order by id limit 1")
is "the API tells the history of such a job" "succeeded, attempt 2: lost succeeded" "$(request 200 GET "/v1/jobs/$job" \
  | field '"{}, attempt {}: {}".format(it["state"], it["attempt"], " ".join(a["outcome"] for a in it["history"]))')"
is "all workers had their share" t "$(sql "select count(distinct worker) >= $WORKERS from longshore.jobs where queue = 'lines'")"
is "longshore.violations is empty" "" "$(sql 'select * from longshore.violations limit 5')"

# -------------------------------------------------------------------------------------------- 4. stopping a busy worker
nap 9 8s # longer than the grace period: handed back
nap 18 2s
until read -r victim long < <(busiest "j.args->>'for' = '8s'") && ((long >= 1)); do sleep 0.1; done
say "stopping worker $victim while it runs $long long naps"
before=$SECONDS
docker stop "$victim" >/dev/null # with SIGTERM; the time after which SIGKILL comes is stop_grace_period
seconds=$((SECONDS - before))
is "it exited with 0" "exited 0" "$(inspect '{{.State.Status}} {{.State.ExitCode}}' "$victim")"
((seconds <= 12)) || fail "it took $seconds s to stop, with a grace period of 4 s"
say "ok: it stopped within $seconds s, its grace period being 4 s"
eventually "its jobs ran elsewhere" 60 0 sql "select coalesce(sum(available + running + scheduled + retryable), 0) from longshore.queues_overview"
is "none was lost, and those handed back were not counted as attempts" "27|t|1" "$(sql "
  select count(*) filter (where state = 'succeeded'), count(*) filter (where handed_back) >= $long, max(attempt)
    from (select j.state, j.attempt, exists (select from longshore.attempts a where a.id = j.id and a.outcome = 'handed_back') handed_back
            from longshore.jobs j where j.queue = 'naps' order by j.id desc limit 27) last")"
is "longshore.violations is empty" "" "$(sql 'select * from longshore.violations limit 5')"

# ----------------------------------------------------------------------------------------------------------- 5. the end
docker compose stop
for container in $(docker compose ps --all --quiet); do
  is "$(inspect '{{.Name}}' "$container") exited with 0" 0 "$(inspect '{{.State.ExitCode}}' "$container")"
done
summary="$lines jobs in $took s, $lost attempts lost with a killed worker, $((SECONDS - started)) s in all after the start"
