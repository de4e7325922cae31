#!/usr/bin/env bash
# `docker compose down` while jobs run: short ones finish, long ones are handed back uncounted, everybody exits with 0
# within the grace period, and the jobs are there when the system is.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
readonly GRACE=4 # of override.yml

docker compose up --no-build --detach --wait --scale worker=3 2>/dev/null
find_api
nap 12 2s
nap 9 60s
eventually "all naps run" 20 21 sql "select count(*) from longshore.running"
docker events --filter event=die --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
  --format '{{index .Actor.Attributes "com.docker.compose.service"}} {{.Actor.Attributes.exitCode}}' >"$work/died" &
events=$!
before=$SECONDS
docker compose down 2>/dev/null
took=$((SECONDS - before))
sleep 0.5
kill "$events"
is "all five exited with 0" "api 0|db 0|worker 0|worker 0|worker 0|" "$(sort "$work/died" | tr '\n' '|')"
((took >= GRACE && took <= GRACE + 10)) || fail "down took $took s, with a grace period of $GRACE s"
say "ok: down took $took s, the workers' grace period being $GRACE s"

docker compose up --no-build --detach --wait db 2>/dev/null
is "short ones finished, long ones wait again, at their place" "available 9|succeeded 12|" \
  "$(sql "select state || ' ' || count(*) || '|' from longshore.jobs group by state order by 1" | tr -d '\n')"
is "handed back by a worker that said so, and not counted" "9 handed_back, attempt 0" "$(sql "
  select count(*) || ' ' || min(a.outcome::text) || ', attempt ' || max(j.attempt) from longshore.attempts a join longshore.jobs j using (id) where j.state = 'available'")"
is "nothing was lost" 0 "$(sql "select count(*) from longshore.attempts where outcome = 'lost'")"
is "longshore.violations is empty" "" "$(sql 'select * from longshore.violations limit 5')"
docker compose up --no-build --detach --wait 2>/dev/null
eventually "they start again" 20 9 sql "select count(*) from longshore.running where attempt = 1"
docker compose kill --signal SIGKILL worker 2>/dev/null # not the point here
summary="21 running jobs, down in $took s"
