#!/usr/bin/env bash
# What is committed in dashboard/dist is what the source gives: checks the types, builds it anew and compares.
#
#   dashboard/tests/built.sh
#
# Needs node with npm, and a network for `npm ci`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
npm ci --no-audit --no-fund
npm run types
npm run check
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT
npm run build -- --outDir "$built" --emptyOutDir
diff --recursive dist "$built" >/dev/null || {
  printf 'dashboard/dist is not what dashboard/src gives: npm run build, and commit it\n' >&2
  diff --recursive --brief dist "$built" >&2
  exit 1
}
printf 'dashboard/dist is what its source gives\n'
