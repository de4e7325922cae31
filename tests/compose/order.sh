#!/usr/bin/env bash
# The three services in any order, and with any of them missing: a clear line, no restart, and recovery once the other
# is there.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# restarts: "service exit-code restarts" of each that has ended or was started again by the engine; nobody should.
restarts() {
  local container
  for container in $(docker compose ps --all --quiet); do
    inspect '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}' "$container"
  done | grep -v ' running 0 0$' || true
}
up() { docker compose up --no-build --detach --no-deps "$@" 2>/dev/null; }
# logged SERVICE TEXT: how many lines of its log have the text.
logged() { docker compose logs --no-log-prefix "$1" 2>/dev/null | grep -cF "$2" || true; }
health() { curl --silent --output /dev/null --write-out '%{http_code}' "$api/health"; }
enqueue() { curl --silent "$api/v1/jobs" --header 'content-type: application/json' --data '{"kind": "echo"}' | field 'it["id"]'; }
state() { sql "select state from longshore.jobs where id = $1"; }

for order in "db api worker" "db worker api" "api db worker" "api worker db" "worker db api" "worker api db"; do
  seen=
  for service in $order; do
    seen+=" $service"
    up "$service"
    case " $seen " in
      *" db "*) ;;
      *) # without a database: it says so, what helps, and stays
        eventually "$service, without a database, says what is missing" 15 1 logged "$service" "the database is away; trying again until it is back"
        (($(logged "$service" "is the host in LONGSHORE_DATABASE__URL spelled right?") == 1)) ||
          (($(logged "$service" "is the network between here and there in order") == 1)) || fail "$service does not say what helps"
        ;;
    esac
    case "$service $seen " in
      "api "*" db "*) ;;
      "api "*)
        find_api
        is "the API is up and says that it is not well" 503 "$(health)"
        is "it takes nothing that it cannot store" 503 "$(curl --silent --output /dev/null --write-out '%{http_code}' \
          "$api/v1/jobs" --header 'content-type: application/json' --data '{"kind": "echo"}')"
        ;;
    esac
    if [[ $service == worker && $seen == *db* && $seen != *api* ]]; then
      eventually "the worker says that it waits for the schema" 15 1 logged worker "waiting for the schema"
    fi
  done
  find_api
  eventually "started as: $order; the API is well" 30 200 health
  job=$(enqueue)
  eventually "a job is done" 30 succeeded state "$job"
  is "nobody was restarted" "" "$(restarts)"
  [[ $order == "worker api db" ]] || docker compose down --volumes --timeout 5 2>/dev/null
done

# ------------------------------------------------------------------------------------------------ one of them missing
docker compose stop db 2>/dev/null
eventually "no database: the API says so" 10 503 health
for service in api worker; do
  eventually "no database: the $service's log says so" 15 2 logged "$service" "the database is away; trying again until it is back"
done
docker compose start db 2>/dev/null
eventually "the database is back, and the API with it" 30 200 health
for service in api worker; do
  eventually "the $service's log says so" 15 2 logged "$service" "the database is back"
done
job=$(enqueue)
eventually "a job is done" 30 succeeded state "$job"

docker compose stop api 2>/dev/null
job=$(sql "select longshore.enqueue('echo', '[\"no API\"]')")
eventually "no API: a job enqueued in psql is done" 30 succeeded state "$job"
docker compose start api 2>/dev/null
find_api
eventually "the API is back" 30 200 health

docker compose stop worker 2>/dev/null
eventually "no worker: the answer to an enqueue says so" 10 True bash -c "curl --silent '$api/v1/jobs' --header 'content-type: application/json' \
  --data '{\"kind\": \"echo\"}' | python3 -c 'import json, sys; print(\"no live worker\" in json.load(sys.stdin).get(\"warning\", \"\"))'"
job=$(enqueue)
is "and so does explain" "no_worker: there is no live worker: start one" "$(sql "select reason || ': ' || detail from longshore.explain($job)")"
docker compose start worker 2>/dev/null
eventually "the worker is back, and the job is done" 30 succeeded state "$job"
is "nobody was restarted by the engine" "" "$(restarts)"
is "longshore.violations is empty" "" "$(sql 'select * from longshore.violations limit 5')"
summary="six orders of starting, each of the three missing for a while"
