#!/usr/bin/env bash
# A worker that leases its jobs over HTTP, with curl and jq. Start as many of it as you like.
set -euo pipefail
api=${LONGSHORE_API:-http://127.0.0.1:8000}
lease_for=5 # seconds: what a killed worker held comes back after them

# The job itself: args on the input, the result as JSON on the output; an exit code other than 0 fails this attempt.
greet() {
  local args
  args=$(cat)
  sleep "$(jq -r '.seconds // 0' <<<"$args")"
  jq '"Good morning, " + (.name // error("there is no name"))' <<<"$args"
}

# call PATH: posts the input. Prints the answer; 22 says that it is no success.
call() {
  curl -sS --fail-with-body --max-time 30 "$api$1" -H 'content-type: application/json' \
    ${LONGSHORE_KEY:+-H "authorization: Bearer $LONGSHORE_KEY"} --data-binary @-
}

# keep ID LEASE: extends the lease three times as often as it would end.
keep() {
  while sleep "$(jq -n "$lease_for / 3")"; do
    jq -n --argjson id "$1" --arg lease "$2" --argjson extend "$lease_for" '{leases: [{$id, $lease}], $extend}' |
      call /v1/leases/heartbeat >/dev/null || true
  done
}

# report ID OUTCOME: sends the input until it is answered. All that is reported may be sent again.
report() {
  local body answer
  body=$(cat)
  until answer=$(call "/v1/jobs/$1/$2" <<<"$body"); do
    case $(jq -r '.status?' <<<"$answer") in
      409) printf 'job %s is not ours any more: %s\n' "$1" "$answer" && return ;;
      4*) printf 'job %s: %s\n' "$1" "$answer" >&2 && return ;;
    esac
    sleep 1
  done
  printf 'job %s: %s\n' "$1" "$2"
}

run() {
  local job=$1 id lease heartbeats
  id=$(jq .id <<<"$job") lease=$(jq -r .lease <<<"$job")
  keep "$id" "$lease" &
  heartbeats=$!
  if jq -c .args <<<"$job" | greet >"$folder/result" 2>"$folder/errors"; then
    kill -KILL "$heartbeats"
    jq -n --arg lease "$lease" --slurpfile result "$folder/result" '{$lease, result: $result[0]}' | report "$id" complete
  else
    kill -KILL "$heartbeats"
    jq -n --arg lease "$lease" --rawfile error "$folder/errors" '{$lease, $error}' | report "$id" fail
  fi
  wait "$heartbeats" 2>/dev/null || true
}

# Jobs, one after the other, until there is a file that says stop.
work() {
  local wanted answer job
  trap '' TERM INT # what runs is finished
  wanted=$(jq -n --arg worker "$HOSTNAME:$$" --argjson lease_for "$lease_for" \
    '{queues: ["shell"], kinds: ["greet"], limit: 1, $lease_for, wait: 5, $worker}')
  until [[ -e $folder/stop ]]; do
    if answer=$(call /v1/leases <<<"$wanted"); then
      job=$(jq -c '.jobs[0] // empty' <<<"$answer")
      [[ -z $job ]] || run "$job"
    else
      printf 'lease: %s\n' "$answer" >&2
      sleep 1
    fi
  done
}

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# Signals come to this process, which does nothing but wait: so they come at no bad moment.
trap 'touch "$folder/stop"' TERM INT
work &
until wait $!; do kill -0 $! 2>/dev/null || exit 1; done
