#!/usr/bin/env bash
# compose.prod.yaml: secrets from files, TLS to the database, keys wanted; then the same two files as a stack on a swarm of
# one machine. It works on a copy of the files, since the secrets lie beside them. An engine that is in no swarm is in one
# of its own for as long as this takes.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
unset COMPOSE_FILE
export COMPOSE_FILE=docker-compose.yml:compose.prod.yaml

tree=$work/tree
mkdir "$tree"
cp -r "$root/docker-compose.yml" "$root/compose.prod.yaml" "$root/deploy" "$tree"
cd "$tree"

# authorized EXPECTED-STATUS METHOD PATH [BODY]: with the key.
authorized() {
  local body=()
  (($# < 4)) || body=(--header 'content-type: application/json' --data "$4")
  local status
  status=$(curl --silent --max-time 20 --output "$work/authorized" --write-out '%{http_code}' --request "$2" --header "authorization: Bearer $key" "${body[@]}" "$api$3") || true
  [[ $status == "$1" ]] || fail "$2 $3 with a key: expected $1, got $status: $(head -c 500 "$work/authorized")"
  cat "$work/authorized"
}
psql_in() { docker exec "$1" psql -qAtX -v ON_ERROR_STOP=1 -U longshore -d longshore -c "$2"; }

# ------------------------------------------------------------------------------------------------------- on one machine
deploy/secrets.sh >/dev/null
is "secrets are closed to others" 700 "$(stat -c %a secrets)"
if deploy/secrets.sh 2>/dev/null; then fail "secrets are made twice"; fi
say "ok: and are not made twice"

docker compose up --no-build --detach --wait db 2>/dev/null
db=$(container db)
code=0
said=$(timeout 60 docker compose run --rm --no-deps api 2>&1) || code=$?
is "without a key the API does not serve" 2 "$code"
[[ $said == *LONGSHORE_API__OPEN* && $said == *"longshore keys create"* ]] || fail "it does not say what helps: $said"
say "ok: and says what helps"
key=$(docker compose run --rm cli keys create --name ops --scope admin --json 2>/dev/null | field 'it["key"]')
docker compose up --no-build --detach --wait 2>/dev/null
find_api
is "three workers" 3 "$(psql_in "$db" "select count(*) from longshore.workers_overview where alive")"
request 401 GET /v1/jobs >/dev/null
request 401 POST /v1/jobs application/json '{"kind": "echo"}' >/dev/null
request 200 GET /health >/dev/null
job=$(authorized 201 POST /v1/jobs '{"kind": "echo", "args": {"in": "production"}}' | field 'it["id"]')
eventually "with the key, a job is done" 20 succeeded psql_in "$db" "select state from longshore.jobs where id = $job"
is "all connections of the programs are encrypted" t "$(psql_in "$db" "
  select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where application_name like 'longshore%'")"
is "psql's too" TLSv1.3 "$(docker compose run --rm -T psql -qAtX -c 'select version from pg_stat_ssl where pid = pg_backend_pid()' 2>/dev/null)"
if docker compose run --rm -T --env PGSSLMODE=disable psql -c 'select 1' >"$work/plain" 2>&1; then fail "the database takes a connection that is not encrypted"; fi
grep -q 'no encryption' "$work/plain" || fail "refused, but not for want of encryption: $(cat "$work/plain")"
say "ok: the database takes no others"
# a certificate of somebody else's is not taken
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=db -addext subjectAltName=DNS:db \
  -keyout /dev/null -out "$work/stranger.pem" 2>/dev/null
chmod 0644 "$work/stranger.pem"
if docker compose run --rm --volume "$work/stranger.pem:/run/secrets/database_authority:ro" cli jobs >"$work/stranger" 2>&1; then
  fail "a database with a stranger's certificate is talked to"
fi
grep -qi 'certificate' "$work/stranger" || fail "refused, but not for the certificate: $(cat "$work/stranger")"
say "ok: a certificate of another authority is not taken"
password=$(cat secrets/database_password)
for service in db api worker; do
  if docker inspect "$(container $service)" | grep -q "$password"; then fail "docker inspect shows the password of $service"; fi
done
if docker compose logs 2>/dev/null | grep -q "$password"; then fail "the logs show the password"; fi
say "ok: neither docker inspect nor the logs show the password"
docker compose exec -T worker longshore keys revoke ops >/dev/null 2>&1
eventually "a revoked key is refused within 5 s" 5 401 curl --silent --output /dev/null --write-out '%{http_code}' --header "authorization: Bearer $key" "$api/v1/jobs"
docker compose --profile '*' down --volumes 2>/dev/null

# ----------------------------------------------------------------------------------------------------------- as a stack
stack=$COMPOSE_PROJECT_NAME joined=
end_of_stack() {
  docker stack rm "$stack" >/dev/null 2>&1 || true
  for _ in {1..60}; do
    [[ -n $(docker ps --all --quiet --filter "label=com.docker.stack.namespace=$stack") ]] || break
    sleep 1
  done
  docker volume rm "${stack}_production" >/dev/null 2>&1 || true
  [[ -z $joined ]] || docker swarm leave --force >/dev/null 2>&1 || true
}
trap 'status=$?; end_of_stack; (exit "$status"); finish' EXIT
if [[ $(docker info --format '{{.Swarm.LocalNodeState}}') != active ]]; then
  docker swarm init --advertise-addr 127.0.0.1 >/dev/null
  joined=yes
fi
LONGSHORE_PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export LONGSHORE_PORT
# sharing a port out over all machines needs IPVS, which not every kernel has
if [[ -e /proc/net/ip_vs ]]; then LONGSHORE_PUBLISH=ingress; else LONGSHORE_PUBLISH=host; fi
export LONGSHORE_PUBLISH
say "as a stack, with LONGSHORE_PUBLISH=$LONGSHORE_PUBLISH"
deploy/stack.sh "$stack" >/dev/null 2>&1 || deploy/stack.sh "$stack"
api=http://127.0.0.1:$LONGSHORE_PORT
task() { docker ps --quiet --filter "label=com.docker.swarm.service.name=${stack}_$1" --filter health=healthy | head -1; }
replicas() { docker service ls --filter "name=${stack}_$1" --format '{{.Replicas}}'; }
eventually "the database is there" 90 1/1 replicas db
eventually "a worker has the schema to wait for" 60 1 bash -c "docker ps --quiet --filter label=com.docker.swarm.service.name=${stack}_worker | head -1 | wc -l"
worker=$(docker ps --quiet --filter "label=com.docker.swarm.service.name=${stack}_worker" | head -1)
key=$(docker exec "$worker" longshore keys create --name ops --scope admin --json | field 'it["key"]')
eventually "three workers" 90 3/3 replicas worker
health() { curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "$api/health"; }
eventually "the API is there, now that there is a key" 90 200 health
job=$(authorized 201 POST /v1/jobs '{"kind": "echo", "args": {"in": "a swarm"}}' | field 'it["id"]')
state() { authorized 200 GET "/v1/jobs/$1" | field 'it["state"]'; }
eventually "a job is done" 30 succeeded state "$job"
docker kill "$(task worker)" >/dev/null
replaced() { printf '%s %s' "$(docker service ps "${stack}_worker" --filter desired-state=shutdown --quiet | wc -l)" "$(replicas worker)"; }
eventually "a killed worker is replaced" 60 "1 3/3" replaced
docker service scale --detach "${stack}_db=0" >/dev/null
eventually "without a database the API says so" 60 503 health
sleep 25 # longer than the three health checks after which Swarm replaces a container
docker service scale --detach "${stack}_db=1" >/dev/null
eventually "the database is back" 90 200 health
is "its outage cost nobody a restart" "" "$(docker service ps "${stack}_api" "${stack}_worker" --filter desired-state=shutdown --format '{{.Name}} {{.Error}}' | grep -i unhealthy || true)"
eventually "the job is still there" 30 succeeded state "$job"
docker service update --force --detach=false --quiet "${stack}_worker" >/dev/null
is "workers are replaced one after the other" completed "$(docker service inspect --format '{{.UpdateStatus.State}}' "${stack}_worker")"
job=$(authorized 201 POST /v1/jobs '{"kind": "echo"}' | field 'it["id"]')
eventually "a job is done by a new one" 30 succeeded state "$job"
is "longshore.violations is empty" "" "$(psql_in "$(task db)" 'select * from longshore.violations limit 5')"
summary="with keys and TLS, by Compose and as a stack"
