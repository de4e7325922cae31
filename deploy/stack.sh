#!/usr/bin/env bash
# Deploys docker-compose.yml and compose.prod.yaml as a stack of Docker Swarm.
#
#   docker swarm init                  once, on a machine that is in no swarm yet
#   deploy/secrets.sh                  once
#   docker compose build               the images must be on each machine, or in a registry that all reach
#   deploy/stack.sh                    makes or updates the stack "longshore"; another name as its argument
#   docker exec "$(docker ps --quiet --filter name=longshore_worker --latest)" longshore keys create --name ops --scope admin
#
# The API gets two containers behind the port, which Swarm shares out over all machines. Where the kernel has no IPVS,
# which that needs, or where the programs shall see the clients' own addresses: LONGSHORE_PUBLISH=host deploy/stack.sh
# publishes one container on its own machine.
#
# Swarm replaces a container that is unhealthy, as Compose does not. So what counts here is whether the program itself is in
# order: where the database is away, a worker keeps its jobs and the API answers 503, and replacing them would help nobody.
#
# Swarm reads an older form of the same files: it knows neither their name, nor images that are built, nor conditions of
# depends_on, nor an address to publish on (it publishes on all). So Compose puts the two files together, and jq leaves
# those out. Needs docker with Compose, and jq.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
publish=${LONGSHORE_PUBLISH:-ingress}
case $publish in
  ingress) replicas=2 order=start-first ;;
  host) replicas=1 order=stop-first ;; # two cannot have the same port of one machine, not even for a moment
  *)
    printf 'LONGSHORE_PUBLISH=%s: it may be ingress or host\n' "$publish" >&2
    exit 2
    ;;
esac
# unless PROGRAM SAYING: a health check that fails for every reason but this one. $$ is a $ for the container's shell.
# shellcheck disable=SC2016
unless() { printf 'said=$$(%s health 2>&1) || case $$said in (*"%s"*) ;; (*) echo "$$said"; exit 1 ;; esac' "$1" "$2"; }
export LONGSHORE_API_REPLICAS=${LONGSHORE_API_REPLICAS:-$replicas}
docker compose --file docker-compose.yml --file compose.prod.yaml config --format json |
  jq --arg publish "$publish" --arg order "$order" \
    --arg api "$(unless longshore-api away)" --arg worker "$(unless longshore-worker 'could not look')" 'del(.name)
    | .networks |= map_values(del(.name, .ipam))
    | .volumes |= map_values(del(.name))
    | .secrets |= map_values(del(.name))
    | .configs |= map_values(del(.name))
    | .services |= map_values(
        with_entries(select(.value != null))
        | del(.depends_on, .build, .develop, .restart, .security_opt, .shm_size)
        | if .ports then .ports |= map(del(.host_ip) | .published |= tonumber | .mode = $publish) else . end)
    | .services.api.deploy.update_config.order = $order
    | .services.api.healthcheck.test = ["CMD-SHELL", $api]
    | .services.worker.healthcheck.test = ["CMD-SHELL", $worker]' |
  docker stack deploy --compose-file - "${1:-longshore}"
