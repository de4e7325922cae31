#!/usr/bin/env bash
# The dashboard, clicked and typed at in a real browser: Chromium, against a `longshore dev` of the test's own.
#
#   dashboard/tests/run.sh [PATH-OF-LONGSHORE]          default: target/debug/longshore
#   PICTURES=1 dashboard/tests/run.sh                   and takes the documentation's pictures anew, into docs/images
#
# Needs node with npm, and chromium (or CHROMIUM, the path of one).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/scripts.sh
. "$here/../../tests/support/scripts.sh"
find_longshore "$@"
cd "$here/.."
[[ -d node_modules/playwright-core ]] || npm ci --no-audit --no-fund
LONGSHORE=$longshore exec node --test --test-timeout=120000 tests/*.test.mjs
