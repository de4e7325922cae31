#!/usr/bin/env bash
# Everything through PgBouncer in transaction mode; only LISTEN and migrations go past it.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
readonly JOBS=5000
export LONGSHORE_DB=pooler:6432 COMPOSE_PROFILES=pooler

docker compose up --no-build --detach --wait --scale worker=3 2>/dev/null
find_api
is "all connections come from the pooler, except those that listen" "listen longshore_wake" "$(sql "
  select distinct query from pg_stat_activity where application_name like 'longshore%'
     and client_addr <> (select client_addr from pg_stat_activity where query not like 'listen%' and application_name like 'longshore%' limit 1)")"
for ((i = 0; i < JOBS; i++)); do printf '{"kind": "echo", "args": %d, "queue": "lines"}\n' "$i"; done >"$work/jobs.ndjson"
request 201 POST /v1/jobs/batch application/x-ndjson "@$work/jobs.ndjson" >"$work/ids"
eventually "$JOBS jobs are done" 60 "$JOBS" sql "select count(*) from longshore.jobs where state = 'succeeded' and result::text = args::text"
# notifications arrive: with polling alone (200 ms, with jitter) twenty jobs one after the other would take seconds
before=$(date +%s%N)
for _ in {1..20}; do
  job=$(request 201 POST /v1/jobs application/json '{"kind": "echo"}' | field 'it["id"]')
  until [[ $(request 200 GET "/v1/jobs/$job" | field 'it["state"]') == succeeded ]]; do :; done
done
say "twenty single jobs one after the other took $((($(date +%s%N) - before) / 1000000)) ms, the looking included"
is "jobs one after the other start at once" t "$(sql "select percentile_cont(0.5) within group (order by extract(epoch from started_at - created_at)) < 0.1 from longshore.jobs where queue = 'default'")"

# It goes away under load, with all connections.
for ((i = 0; i < JOBS; i++)); do printf '{"kind": "sleep", "args": {"for": "50ms"}, "queue": "naps"}\n'; done >"$work/naps.ndjson"
request 201 POST /v1/jobs/batch application/x-ndjson "@$work/naps.ndjson" >"$work/ids"
docker compose kill pooler 2>/dev/null
sleep 2
docker compose start pooler 2>/dev/null
eventually "a pooler that was killed and came back lost nothing" 60 0 all_done
is "all succeeded" $((JOBS * 2 + 20)) "$(sql "select count(*) from longshore.jobs where state = 'succeeded'")"
job=$(docker compose run --rm cli enqueue echo '[1]' --json 2>/dev/null | field 'it["ids"][0]')
eventually "the command line works through it" 20 succeeded sql "select state from longshore.jobs where id = $job"
is "no statement was refused" 0 "$(docker compose logs --no-log-prefix api worker db pooler 2>/dev/null | grep -ciE 'prepared statement|refused to|does not exist' || true)"
is "longshore.violations is empty" "" "$(sql 'select * from longshore.violations limit 5')"
summary="$((JOBS * 2)) jobs through PgBouncer"
