#!/usr/bin/env bash
# Enqueues a job over HTTP and waits for its result.
set -euo pipefail
api=${LONGSHORE_API:-http://127.0.0.1:8000}
# the same request sent again enqueues nothing twice
curl -sS --fail-with-body "$api/v1/jobs?wait=30s" -H 'content-type: application/json' -H "idempotency-key: greet-ann-$$" \
  ${LONGSHORE_KEY:+-H "authorization: Bearer $LONGSHORE_KEY"} \
  -d "$(jq -n --arg name Ann '{kind: "greet", queue: "shell", args: {name: $name}}')" |
  jq -r '"\(.id) \(.state) \(.result)"'
