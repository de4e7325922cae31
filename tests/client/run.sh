#!/usr/bin/env bash
# A client that knows nothing but /openapi.json asks the API whatever that document allows, and much that it does not:
#
#   tests/client/run.sh [PATH-OF-LONGSHORE]          default: target/debug/longshore
#   EXAMPLES=500 SEED=7 SECONDS_AT_MOST=3600 tests/client/run.sh      more and other requests, 25 of an operation by default
#
# Schemathesis makes the requests: each operation alone, then chains of them, in which ids of answers are asked for again. No
# answer may be a 5xx, or have a status, type, header or body that the document does not tell; what the document forbids must be
# refused; and without a key nothing is told. Then longshore.violations must be empty.
#
# It starts a `longshore dev` of its own on a free port, with a worker, so that jobs move, and with a key. Needs curl, python3 and
# psql, and takes some three minutes. Without SCHEMATHESIS=…, the path of the program, it installs that beside the linters of
# .ci/run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/scripts.sh
. "$here/../support/scripts.sh"
find_longshore "$@"
schemathesis=${SCHEMATHESIS:-}
if [[ -z $schemathesis ]]; then
  find_venv schemathesis-4.32.5 schemathesis==4.32.5
  schemathesis=$venv/bin/schemathesis
fi

work=$(mktemp -d)
chmod 711 "$work" # as root, PostgreSQL runs as another user
server=
cleanup() {
  local status=$?
  trap - EXIT
  if [[ -n $server ]]; then
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
  fi
  ((status == 0)) || tail -n 20 "$work/log" >&2
  rm -rf "$work"
  exit "$status"
}
trap cleanup EXIT

# eventually WHAT COMMAND…: until the command succeeds.
eventually() {
  local what=$1 until=$((SECONDS + 60))
  shift
  until "$@"; do
    if ((SECONDS >= until)) || ! kill -0 "$server" 2>/dev/null; then
      printf 'not in time: %s\n' "$what" >&2
      exit 1
    fi
    sleep 0.1
  done
}
# said PATTERN: what stands in the log behind the pattern, up to a space or quote.
said() { grep -oP "$1\K[^\s']+" "$work/log" | head -n 1; }
closed() { [[ $(curl -s -o /dev/null -w '%{http_code}' "$url/v1/jobs") == 401 ]]; }

LONGSHORE_API__LISTEN=127.0.0.1:0 "$longshore" dev --data "$work/data" >"$work/log" 2>&1 &
server=$!
eventually "longshore dev is ready" grep -q 'is ready' "$work/log"
url=http://$(said 'listening addr=')
LONGSHORE_DATABASE__URL=$(said "psql +psql '")
export LONGSHORE_DATABASE__URL
key=$("$longshore" keys create --name client --scope admin --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["key"])')
eventually "the key is known" closed

# Not asked: /v1/events, which never ends (tests/http/events.rs reads it). Not checked: that all is accepted that the document
# allows (positive_data_acceptance), since it cannot say what fields demand of one another, such as run_at or delay.
# A request that hyper refuses (a header it cannot read, a URI too long: 400, 414 and 431 without a body) never reaches the API;
# the client does not make such ones.
cd "$work" # where it keeps what failed
SCHEMATHESIS_HOOKS=$here/hooks.py "$schemathesis" run "$url/openapi.json" --no-color \
  --header "Authorization: Bearer $key" --exclude-path /v1/events \
  --checks all --exclude-checks positive_data_acceptance \
  --max-examples "${EXAMPLES:-25}" --seed "${SEED:-1}" --request-timeout 10 --max-time "${SECONDS_AT_MOST:-150}"

wrong=$(psql "$LONGSHORE_DATABASE__URL" -Atc 'select id, what from longshore.violations limit 20')
[[ -z $wrong ]] || {
  printf 'violations:\n%s\n' "$wrong" >&2
  exit 1
}
