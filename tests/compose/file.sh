#!/usr/bin/env bash
# Longshore as docker-compose.yml starts it, with three workers and a file of 100,000 lines.
#
#   1. start; what runs is locked down as it should be
#   2. one job by curl, seen in psql; one by the command line's image
#   3. every line of a real text becomes a job; meanwhile a worker dies; every line comes back exactly once
#   4. a worker with running jobs is stopped: it finishes or hands back, and exits with 0
#   5. all stops cleanly
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
readonly WORKERS=3 LINES=100000 BATCH=10000 NAPS=150

# ----------------------------------------------------------------------------------------------------------- 1. start
say "starting $WORKERS workers"
docker compose up --no-build --detach --wait --scale "worker=$WORKERS"
started=$SECONDS
find_api
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
    # Naps make certain that whoever dies dies with running jobs. It comes in the background, so that it meets the
    # stream of lines.
    nap "$NAPS" 2s
    until read -r victim held < <(busiest "j.kind = 'sleep'") && ((held >= 5)); do sleep 0.1; done
    say "killing worker $victim, which runs $held naps and its share of the lines"
    sigkill "$victim" &
    killer=$!
  fi
done
wait "$killer" || fail "the worker could not be killed"
say "all lines are enqueued"
eventually "the dead worker was started again by the engine" 30 "running 1" inspect '{{.State.Status}} {{.RestartCount}}' "$victim"
eventually "no job waits or runs any more" 90 0 all_done
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
eventually "its jobs ran elsewhere" 60 0 all_done
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
