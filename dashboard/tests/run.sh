#!/usr/bin/env bash
# The dashboard, clicked and typed at in a real browser: Chromium, against a `longshore dev` of the test's own.
#
#   dashboard/tests/run.sh [PATH-OF-LONGSHORE]          default: target/debug/longshore
#   PICTURES=docs/images dashboard/tests/run.sh         the documentation's pictures go there, not into target/pictures
#
# Needs node with npm, and chromium (or CHROMIUM, the path of one).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/scripts.sh
. "$here/../../tests/support/scripts.sh"
find_longshore "$@"
cd "$here/.."
[[ -d node_modules/playwright-core ]] || npm ci --no-audit --no-fund
LONGSHORE=$longshore exec node --test --test-concurrency=1 --test-timeout=180000 tests/*.test.mjs
