#!/usr/bin/env bash
# Fails PostgreSQL over under load, and checks that nothing acknowledged is missing:
#
#   tests/failover/run.sh [PATH-OF-LONGSHORE]          default: target/debug/longshore
#   REPLICATION=asynchronous tests/failover/run.sh     shows what is lost without a synchronous standby; ends with 1
#
# A primary and a standby, the API and two workers run on this machine, on free ports of 127.0.0.1, and know both servers
# (a URL with two hosts and target_session_attrs=read-write). While jobs come in and are run, the primary
# first loses touch with its standby, then dies as by a power cut; after a few seconds the standby is promoted. Losing touch
# first is what makes it hard. It is done in both ways, one after the other (CUT=… does one of them):
#
#   CUT=sending      Nothing reaches the standby any more. What the primary commits from then on is gone with it; with a
#                    synchronous standby it finishes no commit, so nothing of that is acknowledged.
#   CUT=confirming   Everything reaches the standby, but its confirmations do not come back. What was committed then is
#                    there after the failover, though nobody was ever told so: neither who enqueued, nor who claimed.
#
# Needs the programs of PostgreSQL (15 or newer), curl and python3. As root it runs PostgreSQL as the user postgres, since
# PostgreSQL refuses to run as root. Takes about 20 seconds for each way, and removes what it has made (KEEP=1 keeps the
# logs of a run that fails).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
longshore=$(realpath "${1:-${LONGSHORE:-$here/../../target/debug/longshore}}")
if [[ -z ${CUT:-} ]]; then
  failed=0
  for cut in sending confirming; do CUT=$cut "$here/run.sh" "$longshore" || failed=1; done
  exit "$failed"
fi
replication=${REPLICATION:-synchronous}
alone=${ALONE:-1}   # seconds that the primary goes on without its standby
outage=${OUTAGE:-5} # seconds from its death to the promotion
work=$(mktemp -d)
pids=()

say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }
fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}
cleanup() {
  local status=$? pid
  trap - EXIT
  touch "$work/stop"
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  stop_server standby fast
  stop_server primary immediate
  if ((status != 0)) && [[ -n ${KEEP:-} ]]; then say "kept: $work"; else rm -rf "$work"; fi
  exit "$status"
}
# eventually WHAT SECONDS COMMAND…: until the command succeeds.
eventually() {
  local what=$1 until=$((SECONDS + $2))
  shift 2
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < until)) || fail "not in time: $what"
    sleep 0.1
  done
  say "ok: $what"
}

# ------------------------------------------------------------------------------------------------------------ servers
# Debian keeps PostgreSQL's programs beside the PATH, a folder a version.
for folder in /usr/lib/postgresql/*/bin; do PATH=$folder:$PATH; done
for program in initdb pg_ctl pg_basebackup psql curl python3; do
  command -v "$program" >/dev/null || fail "$program is missing: please install PostgreSQL 15 or newer, curl and python3"
done
[[ -x $longshore ]] || fail "there is no $longshore: cargo build, or say where it is"

if ((EUID == 0)); then
  as_postgres() { (cd / && exec setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@"); }
  install -d -o postgres -m 700 "$work/servers"
  chmod 711 "$work"
else
  as_postgres() { "$@"; }
  mkdir -m 700 "$work/servers"
fi
stop_server() {
  [[ ! -f $work/servers/$1/postmaster.pid ]] || as_postgres pg_ctl -D "$work/servers/$1" -m "$2" -w -t 20 stop >/dev/null 2>&1 || true
}
# sql PORT STATEMENT
sql() { psql -qAtX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$1" -U postgres -d longshore -c "$2"; }
# start_server NAME PORT
start_server() {
  as_postgres pg_ctl -D "$work/servers/$1" -w -t 30 -l "$work/servers/$1.log" \
    -o "-c listen_addresses=127.0.0.1 -c port=$2 -c unix_socket_directories='' -c max_connections=100" start >/dev/null ||
    fail "the $1 does not start: $(tail -n 5 "$work/servers/$1.log")"
}
is_true() { [[ $(sql "$1" "$2") == t ]]; }

trap cleanup EXIT
read -r first second api < <(python3 - <<'PY'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(s.getsockname()[1] for s in sockets))
PY
)
as_postgres initdb -D "$work/servers/primary" -U postgres -A trust --no-sync >/dev/null
start_server primary "$first"
psql -qX -h 127.0.0.1 -p "$first" -U postgres -d postgres -c 'create database longshore'
as_postgres pg_basebackup -D "$work/servers/standby" -R -X stream --checkpoint=fast --no-sync \
  -d "host=127.0.0.1 port=$first user=postgres application_name=standby"
start_server standby "$second"
if [[ $replication == synchronous ]]; then
  # After the backup, so that the standby, once promoted, does not wait for a standby of its own.
  sql "$first" "alter system set synchronous_standby_names = 'standby'"
  sql "$first" "select pg_reload_conf()" >/dev/null
  eventually "the standby is a synchronous one" 15 is_true "$first" "select sync_state = 'sync' from pg_stat_replication"
else
  eventually "the standby is an asynchronous one" 15 is_true "$first" "select sync_state = 'async' from pg_stat_replication"
fi

# --------------------------------------------------------------------------------------------------------------- load
export LONGSHORE_DATABASE__URL="postgres://postgres@127.0.0.1:$first,127.0.0.1:$second/longshore?target_session_attrs=read-write"
export LONGSHORE_API__LISTEN=127.0.0.1:$api
start_program() { # NAME ROLE
  (cd "$work" && exec "$longshore" "$2") >"$work/$1.log" 2>&1 &
  pids+=("$!")
}
start_program api api
start_program worker-1 worker
start_program worker-2 worker
eventually "the API is ready" 30 curl -fsS --max-time 5 "http://127.0.0.1:$api/readyz"
eventually "two workers are there" 30 is_true "$first" "select count(*) = 2 from longshore.workers_overview where alive"

# This job runs right through the failover.
long=$(curl -fsS "http://127.0.0.1:$api/v1/jobs" -H 'content-type: application/json' \
  -d '{"kind": "sleep", "queue": "long", "args": {"for": "15s"}}' | python3 -c 'import json, sys; print(json.load(sys.stdin)["id"])')
python3 "$here/load.py" "http://127.0.0.1:$api" "$work" &
load=$!
pids+=("$load")
seen() { python3 "$here/seen.py" "$work/answers" "$@"; }
eventually "jobs come in and are run" 20 is_true "$first" "select coalesce(sum(succeeded), 0) > 100 from longshore.queues_overview"

# And a backlog, so that workers are claiming whenever the failover comes.
python3 - >"$work/backlog.ndjson" <<'PY'
for _ in range(1000):
    print('{"kind": "sleep", "queue": "backlog", "args": {"for": "300ms"}, "meta": {"token": "backlog"}}')
PY
backlog=$(curl -fsS "http://127.0.0.1:$api/v1/jobs/batch" -H 'content-type: application/x-ndjson' --data-binary @"$work/backlog.ndjson") ||
  fail "the backlog was not taken"
python3 -c 'import json, sys; print(*(f"{id}\tbacklog" for id in json.load(sys.stdin)["ids"]), sep="\n")' <<<"$backlog" >"$work/acknowledged-backlog"
eventually "the backlog is worked on" 10 is_true "$first" \
  "select sum(succeeded) > 0 and sum(available) > 100 from longshore.queues_overview where queue = 'backlog'"

# ----------------------------------------------------------------------------------------------------------- failover
case $CUT in
  sending) frozen=$(sql "$first" 'select pid from pg_stat_replication') ;;
  confirming) frozen=$(sql "$second" 'select pid from pg_stat_wal_receiver') ;;
  *) fail "CUT is \"$CUT\": there are sending and confirming" ;;
esac
kill -STOP "$frozen"
say "the primary has lost touch with its standby: $CUT"
sleep "$alone"
cut=$(date +%s.%N)
postmaster=$(head -n 1 "$work/servers/primary/postmaster.pid")
mapfile -t others < <(sql "$first" 'select pid from pg_stat_activity where pid <> pg_backend_pid()')
kill -KILL "$postmaster" "${others[@]}" 2>/dev/null || true
[[ $CUT == sending ]] || kill -CONT "$frozen"
# Whoever still asks the dead machine gets no answer, not even a refusal.
mkfifo "$work/silent"
python3 "$here/silent.py" "$first" >"$work/silent" &
pids+=("$!")
read -r -t 10 _ <"$work/silent" || fail "the port of the dead primary could not be held"
say "the primary is dead"
eventually "the API says 503" 10 seen 503 "$cut"
curl -fsS --max-time 5 -o /dev/null "http://127.0.0.1:$api/livez" || fail "/livez must not depend on the database"
ready=$(curl -sS --max-time 5 -o "$work/problem" -w '%{http_code}' "http://127.0.0.1:$api/readyz")
[[ $ready == 503 ]] || fail "/readyz said $ready while there was no primary"
status=$(curl -sS --max-time 6 -o "$work/problem" -w '%{http_code} %{content_type} %{time_total}' "http://127.0.0.1:$api/v1/jobs" \
  -H 'content-type: application/json' -d '{"kind": "echo"}') || fail "no answer within 6 s: $status"
[[ $status == "503 application/problem+json "* ]] || fail "without a primary the API said: $status"
say "ok: 503, a problem, after ${status##* } s; /livez is fine, /readyz is not"
left=$(python3 -c "import sys, time; print(max(0, float(sys.argv[1]) + $outage - time.time()))" "$cut")
sleep "$left"
promoted=$(date +%s.%N)
as_postgres pg_ctl -D "$work/servers/standby" -w -t 30 promote >/dev/null
say "the standby is promoted"
eventually "the API says 201 again" 20 seen 201 "$promoted"
say "the first 201 came $(seen 201 "$promoted") s after the promotion"
sleep 3
touch "$work/stop"
wait "$load" || fail "the load ended badly"

# -------------------------------------------------------------------------------------------------------------- after
problems=()
quiet="select coalesce(sum(available + running + scheduled + retryable), 0) = 0 from longshore.queues_overview"
until=$((SECONDS + 40)) # longer than a lease
until is_true "$second" "$quiet" || ((SECONDS > until)); do sleep 0.2; done
if is_true "$second" "$quiet"; then
  say "ok: nothing waits and nothing runs"
else
  # A running job whose worker lives, but knows nothing of it, would stand there for ever.
  problems+=("not at an end after 40 s, longer than a lease: $(sql "$second" "select string_agg(format('%s %s, attempt %s, worker %s', id, state, attempt, worker), '; ')
    from longshore.jobs where state not in ('succeeded', 'failed', 'cancelled')")")
fi
psql -qX -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$second" -U postgres -d longshore <<SQL
create temporary table acknowledged (id bigint, token text);
\copy acknowledged from '$work/acknowledged'
\copy acknowledged from '$work/acknowledged-backlog'
\pset tuples_only on
\pset format unaligned
\o $work/counts
select count(*), count(*) filter (where j.id is null), count(*) filter (where j.state is distinct from 'succeeded')
  from acknowledged a left join longshore.jobs j on j.id = a.id and j.meta ->> 'token' = a.token;
\o
SQL
IFS='|' read -r acknowledged missing unhappy <"$work/counts"
((acknowledged > 200)) || problems+=("only $acknowledged jobs were acknowledged, too few to tell")
((missing == 0)) || problems+=("$missing of $acknowledged acknowledged jobs are missing after the failover")
((unhappy == missing)) || problems+=("$((unhappy - missing)) acknowledged jobs have not succeeded")
say "$acknowledged jobs acknowledged, $missing missing, $((acknowledged - unhappy)) succeeded"
violations=$(sql "$second" 'select count(*) from longshore.violations')
[[ $violations == 0 ]] || problems+=("$violations violations: $(sql "$second" 'select * from longshore.violations limit 5')")
through=$(sql "$second" "select state || ', attempt ' || attempt from longshore.jobs where id = $long")
say "the job that ran through it all: ${through:-missing}"
[[ $through == "succeeded, attempt 1" ]] || problems+=("the job that ran through it all: ${through:-missing}")
slowest=$(seen slowest)
say "the longest wait for an answer: $slowest s"
python3 -c "import sys; sys.exit(float(sys.argv[1]) > 6)" "$slowest" || problems+=("an answer took $slowest s")
for program in api worker-1 worker-2; do
  away=$(grep -c 'the database is away' "$work/$program.log" || true) back=$(grep -c 'the database is back' "$work/$program.log" || true)
  say "$program said \"away\" $away times, \"back\" $back times"
  ((away >= 1 && back >= 1)) || problems+=("$program did not say that the database was away and is back")
done
if ((${#problems[@]} > 0)); then
  printf 'FAILED: %s\n' "${problems[@]}" >&2
  exit 1
fi
say "passed: $CUT, $replication"
