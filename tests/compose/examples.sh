#!/usr/bin/env bash
# The four examples, each in its profile: 1,000 texts, with the example's own process killed on the way, three times. Then one
# checker for all four goes through every job's history.
#
#   tests/compose/examples.sh             all
#   tests/compose/examples.sh python      this one
# shellcheck source-path=SCRIPTDIR source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
readonly JOBS=1000 KILLS=3
export COMPOSE_FILE="$root/docker-compose.yml:$root/examples/compose.yaml:$here/examples.yml"
export TEXTS="$root" CERTIFICATES="$work/certificates"
cat "${NODE_EXTRA_CA_CERTS:-/dev/null}" >"$CERTIFICATES"
declare -A killed=([python]=python [typescript]=texts [shell]=shell [rust]=rust) # which service of each is killed

examples=("$@")
((${#examples[@]} > 0)) || examples=(python typescript shell rust)

profiles=() services=()
for example in "${examples[@]}"; do
  profiles+=(--profile "$example")
  services+=("${killed[$example]}")
done
say "building: ${services[*]}"
arguments=() # where a proxy stands between this machine and the packages, the build needs to know it
for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
  [[ -z ${!name:-} ]] || arguments+=(--build-arg "$name=${!name}")
done
docker compose "${profiles[@]}" build "${arguments[@]}" "${services[@]}"

# finished QUEUE: how many of its jobs are done with
finished() { sql "select count(*) from longshore.jobs where queue = '$1' and state in ('succeeded', 'failed')"; }

docker compose up --no-build --detach --wait db api
find_api
for example in "${examples[@]}"; do
  service=${killed[$example]}
  say "--- $example"
  docker compose --profile "$example" up --no-build --detach --wait
  python3 "$here/history.py" enqueue "$example" "$JOBS" "$root" "$api" "$work/$example.json"
  for ((kill = 1; kill <= KILLS; kill++)); do
    until=$((SECONDS + 120)) enough=$((JOBS * kill / (KILLS + 2)))
    until (($(finished "$example") >= enough)); do
      ((SECONDS < until)) || fail "$example: no $enough jobs are done, but $(finished "$example"): $(docker compose logs --tail 20 "$service")"
      sleep 0.1
    done
    docker compose --profile "$example" kill --signal KILL "$service"
    say "killed $service: $(finished "$example") jobs were done, $(sql "select count(*) from longshore.jobs where queue = '$example' and state = 'running'") were running"
    docker compose --profile "$example" start "$service"
  done
  eventually "$example: all $JOBS jobs are done, and the one that names no text" 180 "$((JOBS + 1))" finished "$example"
  python3 "$here/history.py" check "$example" "$root" "$api" "$work/$example.json"
  is "$example: every job stands in one place" "" "$(sql 'select * from longshore.violations')"
  docker compose --profile "$example" rm --stop --force "$example" "$service" >/dev/null
done
summary="$JOBS jobs each by ${examples[*]}, whose process was killed $KILLS times"
