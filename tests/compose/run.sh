#!/usr/bin/env bash
# All tests of the containers: builds the images, then runs each test, or those named.
#
#   tests/compose/run.sh             all
#   tests/compose/run.sh order       tests/compose/order.sh alone
#
# Needs Docker with Compose, curl and python3.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain

for program in docker curl python3; do
  command -v "$program" >/dev/null || {
    printf 'the tests of the containers need %s\n' "$program" >&2
    exit 1
  }
done
docker compose version >/dev/null

printf '=== the images\n'
arguments=() # where a proxy stands between this machine and the crates, the build needs to know it
for name in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
  [[ -z ${!name:-} ]] || arguments+=(--build-arg "$name=${!name}")
done
docker compose --file "$root/docker-compose.yml" --profile '*' build "${arguments[@]}"

tests=("$@")
((${#tests[@]} > 0)) || tests=(images file order faults down pooler production examples course)
for test in "${tests[@]}"; do
  printf '\n=== %s\n' "$test"
  "$here/$test.sh"
done
printf '\nall tests of the containers passed: %s\n' "${tests[*]}"
