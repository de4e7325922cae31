#!/usr/bin/env bash
# Calls of services, judged by others: the package standardwebhooks of Python verifies every call, while secrets are exchanged
# and jobs go on; and the service in docs/handlers/push.md does what that page says.
#
#   tests/push/run.sh [PATH-OF-LONGSHORE]          default: target/debug/longshore
#
# It starts a `longshore dev` of its own. Needs python3; installs the package beside the linters of .ci/run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/scripts.sh
. "$here/../support/scripts.sh"
find_longshore "$@"
find_venv standardwebhooks-1.1.0 standardwebhooks==1.1.0
exec "$venv/bin/python" "$here/verify.py" "$longshore"
