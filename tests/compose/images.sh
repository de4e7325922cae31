#!/usr/bin/env bash
# The images: what is in them, what is not, and how they stop.
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

size() { docker image inspect --format '{{.Size}}' "$1"; }
base=$(size debian:trixie-slim)
for image in longshore-api longshore-worker longshore; do
  above=$((($(size "$image:latest") - base) / 1000000))
  ((above <= 100)) || fail "$image is $above MB above its base"
  say "ok: $image is $above MB above its base"
  is "$image runs as a plain user with a fixed number" 10001:10001 "$(docker image inspect --format '{{.Config.User}}' "$image:latest")"
  for label in title description version revision vendor licenses base.name; do
    [[ -n $(docker image inspect --format "{{index .Config.Labels \"org.opencontainers.image.$label\"}}" "$image:latest") ]] ||
      fail "$image has no label org.opencontainers.image.$label"
  done
  say "ok: $image has its labels"
  # all at once, in a container as locked down as compose makes it
  seen=$(docker run --rm --read-only --cap-drop ALL --security-opt no-new-privileges:true --network none --entrypoint bash "$image:latest" -c '
    longshore --version
    id -u
    grep -h ^CapEff: /proc/self/status | tr -d "[:blank:]"
    touch /etc/longshore/x 2>/dev/null && echo "can write"
    grep -q "BEGIN CERTIFICATE" /etc/ssl/certs/ca-certificates.crt && echo "root certificates"
    command -v cargo rustc gcc curl' || true)
  is "$image has a shell, the command line, root certificates, no rights, no compiler" \
    "longshore $(sed -n '/^version = /{s/.*"\(.*\)"/\1/p;q}' "$root/Cargo.toml")|10001|CapEff:0000000000000000|root certificates" "$(tr '\n' '|' <<<"$seen" | sed 's/|$//')"
done
is "the API's image asks for its health" '[CMD longshore-api health]' "$(docker image inspect --format '{{.Config.Healthcheck.Test}}' longshore-api:latest)"
is "the worker's image asks for its health" '[CMD longshore-worker health]' "$(docker image inspect --format '{{.Config.Healthcheck.Test}}' longshore-worker:latest)"

# By itself, as process 1, which the kernel gives no default action for signals.
for program in api worker; do
  container=$(docker run --detach --network none --env LONGSHORE_DATABASE__URL=postgres://x:x@127.0.0.1:1/x "longshore-$program:latest")
  extra+=("$container")
  sleep 1
  is "longshore-$program is process 1" "longshore-$program" "$(docker exec "$container" tr '\0' '\n' /proc/1/cmdline 2>/dev/null | head -1 || docker exec "$container" bash -c 'tr "\0" "\n" </proc/1/cmdline')"
  before=$SECONDS
  docker stop --time 10 "$container" >/dev/null
  is "SIGTERM ends it, with 0" "exited 0" "$(inspect '{{.State.Status}} {{.State.ExitCode}}' "$container")"
  ((SECONDS - before <= 5)) || fail "it took $((SECONDS - before)) s"
  docker rm --volumes "$container" >/dev/null
done

docker compose up --no-build --detach --wait 2>/dev/null
sleep 11 # two probes of each more
probes=$(docker compose exec -T db psql -qAtX -U demo -d demo -c "select 1" >/dev/null && docker inspect --format '{{len .State.Health.Log}}' "$(container api)")
((probes >= 2)) || fail "only $probes probes were made"
is "probes bury nothing: the logs do not mention them" 0 "$(docker compose logs --no-log-prefix api worker 2>/dev/null | grep -c '/health' || true)"
# the API is process 1 of its container, the worker has an init before it
is "the API is process 1" longshore-api "$(docker compose exec -T api bash -c 'read -rd "" name </proc/1/cmdline; basename "$name"')"
is "the worker has an init, for what its handlers may leave behind" docker-init "$(docker compose exec -T worker bash -c 'read -rd "" name </proc/1/cmdline; basename "$name"')"
find_api
page=$(curl --silent "$api/")
asset=$(grep -o '/assets/[^"]*\.js' <<<"$page" | head -1)
is "the image holds the dashboard" "200 text/javascript; charset=utf-8" "$(curl --silent --output /dev/null --write-out '%{http_code} %{content_type}' "$api$asset")"
is "memory is limited" "536870912 536870912 1073741824" \
  "$(for service in api worker db; do inspect '{{.HostConfig.Memory}}' "$(container $service)"; done | tr '\n' ' ' | sed 's/ $//')"
is "logs are rotated" "10m 3|10m 3|10m 3|" \
  "$(for service in api worker db; do inspect '{{index .HostConfig.LogConfig.Config "max-size"}} {{index .HostConfig.LogConfig.Config "max-file"}}|' "$(container $service)"; done | tr -d '\n')"
is "the database has checksums" on "$(sql 'show data_checksums')"
is "and room for its shared memory" 256M "$(docker compose exec -T db df --output=size -h /dev/shm | tail -1 | tr -d ' ')"

# Nobody outside reaches the database: it has no port here, and its network has no way out.
is "only the API is published" "api" "$(docker compose ps --format json | python3 -c '
import json, sys
rows = [json.loads(line) for line in sys.stdin]
print(" ".join(r["Service"] for r in rows if any(p.get("PublishedPort") for p in (r.get("Publishers") or []))))')"
is "and on loopback only" 127.0.0.1 "$(docker compose port api 8000 | cut -d: -f1)"
is "the database's network is closed" true "$(docker network inspect --format '{{.Internal}}' "${COMPOSE_PROJECT_NAME}_back")"
if docker run --rm --network "${COMPOSE_PROJECT_NAME}_front" --entrypoint bash longshore-worker:latest -c 'exec 3<>/dev/tcp/db/5432' 2>/dev/null; then
  fail "the database can be reached from the network front"
fi
say "ok: whoever is only in front does not reach the database"
docker run --rm --network "${COMPOSE_PROJECT_NAME}_front" --entrypoint bash longshore-worker:latest -c 'exec 3<>/dev/tcp/api/8000' || fail "but not the API either"
say "ok: but the API, by its name"

is "the command line is a service of its own" "succeeded" "$(docker compose run --rm cli enqueue echo '{"from": "cli"}' >/dev/null 2>&1
  for _ in {1..50}; do
    state=$(docker compose run --rm cli jobs --json 2>/dev/null | field 'it["items"][0]["state"]')
    [[ $state == succeeded ]] && break
  done
  printf '%s' "$state")"
is "and psql, over the network" demo "$(docker compose run --rm -T psql -qAtX -c 'select current_user' 2>/dev/null)"
summary="three images, one compose file"
