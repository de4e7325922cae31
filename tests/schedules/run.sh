#!/usr/bin/env bash
# Due times of some hundred expressions in a dozen time zones, over the changes of their clocks, against those that the package
# cronsim of Python finds, which follows Debian's cron(8).
#
#   tests/schedules/run.sh [PATH-OF-LONGSHORE]          default: target/debug/longshore
#   SEED=7 EXPRESSIONS=5000 tests/schedules/run.sh      other expressions, and more
#
# Needs python3; installs the package beside the linters of .ci/run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/scripts.sh
. "$here/../support/scripts.sh"
find_longshore "$@"
find_venv cronsim-2.8 cronsim==2.8 tzdata==2026.6
exec "$venv/bin/python" "$here/against_cronsim.py" "$longshore"
