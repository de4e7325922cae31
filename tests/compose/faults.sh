#!/usr/bin/env bash
# 20,000 jobs on five workers, and everything that goes wrong on the way: two workers killed, one cut off and connected
# again, the database and the API restarted. Nothing is lost, and what happened can be told from the logs and psql.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
readonly JOBS=20000 BATCH=500

docker compose up --no-build --detach --wait --scale worker=5 2>/dev/null
find_api
declare -A name # of each worker: host:pid:start, as psql, logs and answers have it
for n in 1 2 3 4 5; do
  host=$(inspect '{{.Config.Hostname}}' "$(container worker $n)")
  name[$n]=$(sql "select worker from longshore.workers_overview where host = '$host'")
done
say "ok: five workers: ${name[*]}"

# The client: batches of jobs, each with a key of its own, so that a batch whose answer was lost can be sent again without
# doubling anything. Whatever gets no 201 is sent again.
python3 - "$work" "$JOBS" "$BATCH" <<'P'
import json, sys
work, jobs, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
for start in range(0, jobs, batch):
    with open(f"{work}/part-{start:06}.ndjson", "w", encoding="utf-8") as out:
        for n in range(start, start + batch):
            job = {"kind": "sleep", "queue": "work", "args": {"for": f"{100 + n % 7 * 50}ms"}, "unique": {"key": f"n-{n}", "while": "kept"}}
            out.write(json.dumps(job) + "\n")
P
client() {
  local part status again=0
  for part in "$work"/part-*.ndjson; do
    until
      status=$(curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' --header 'content-type: application/x-ndjson' \
        --data-binary "@$part" "$(cat "$work/address")/v1/jobs/batch" || true)
      [[ $status == 201 ]]
    do
      again=$((again + 1))
      sleep 0.3
    done
    sleep 0.2 # so that all of it takes as long as the faults do
  done
  printf '%s' "$again" >"$work/again"
}
printf '%s' "$api" >"$work/address"
client &
client=$!
done_so_far() { sql "select coalesce(sum(succeeded), 0) from longshore.queues_overview"; }
# busy WORKER: waits until this worker runs jobs.
busy() { eventually "worker $1 is busy" 20 t sql "select running > 0 from longshore.workers_overview where worker = '${name[$1]}'"; }

busy 1
sigkill "$(container worker 1)"
say "worker 1 is killed, as by the kernel; the engine starts it again"
busy 3
docker network disconnect "${COMPOSE_PROJECT_NAME}_back" "$(container worker 3)"
cut=$SECONDS
say "worker 3 is cut off"
busy 2
docker kill "$(container worker 2)" >/dev/null
say "worker 2 is killed by us; the engine leaves it so"
docker compose stop db 2>/dev/null
sleep 2
docker compose start db 2>/dev/null
say "the database was restarted"
sleep 1
docker compose restart --no-deps api 2>/dev/null
find_api
printf '%s' "$api" >"$work/address"
say "the API was restarted"
((SECONDS - cut >= 10)) || sleep $((10 - SECONDS + cut)) # longer than the lease of 5 s
docker network connect "${COMPOSE_PROJECT_NAME}_back" "$(container worker 3)"
docker start "$(container worker 2)" >/dev/null
say "worker 3 is connected again, worker 2 started; $(done_so_far) jobs are done"

wait "$client" || fail "the client gave up"
say "all jobs are acknowledged; $(cat "$work/again") batches had to be sent again"
eventually "no job waits or runs any more" 120 0 all_done
is "none is lost, none is doubled, all succeeded" "$JOBS|$JOBS|$JOBS" "$(sql "
  select count(*), count(distinct unique_key), count(*) filter (where state = 'succeeded') from longshore.jobs where queue = 'work'")"
is "longshore.violations is empty" "" "$(sql 'select * from longshore.violations limit 5')"
eventually "five workers are alive" 30 5 sql "select count(*) from longshore.workers_overview where alive"

# ------------------------------------------------------------------- what happened, from psql and the logs alone
logs() { docker compose logs --no-log-prefix --no-color "$@" 2>/dev/null; }
# told TEXT SERVICE: the logs of a service have this text.
told() {
  logs "$2" >"$work/log"
  grep -qF -- "$1" "$work/log" || fail "the logs of $2 do not tell \"$1\""
  say "ok: the logs of $2 tell: $1"
}
for n in 1 2 3; do
  lost=$(sql "select count(*) from longshore.attempts a join longshore.workers w using (worker) where a.outcome = 'lost' and w.name = '${name[$n]}'")
  ((lost > 0)) || fail "psql knows of no attempt that was lost with worker $n"
  say "ok: psql: $lost attempts were lost with worker $n"
  is "psql: each of them says how" "$lost" "$(sql "select count(*) from longshore.attempts where outcome = 'lost' and error like 'its worker ${name[$n]} was not heard of for%'")"
  if logs api worker | grep -F "${name[$n]}" | grep -q "was not heard of\|not heard of in time"; then
    say "ok: the logs tell of worker $n, by the same name"
  else
    fail "the logs do not tell that worker $n was not heard of"
  fi
done
told "this worker was not heard of in time and was declared dead" worker
told "the database is away; trying again until it is back" api
told "the database is away; trying again until it is back" worker
told "the database is back" worker
told "stopping signal=\"SIGTERM\"" api
told "received fast shutdown request" db
is "the engine started worker 1 again, and left worker 2 to us" "1 0" "$(inspect '{{.RestartCount}}' "$(container worker 1)") $(inspect '{{.RestartCount}}' "$(container worker 2)")"
summary="$JOBS jobs, $(sql "select count(*) from longshore.attempts where outcome = 'lost'") attempts lost and made again"
