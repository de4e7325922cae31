#!/usr/bin/env bash
# What deploy/ has for Prometheus and Grafana, judged by Prometheus' own tool: the files are right, each alert comes in its trouble and
# only then, everything they ask for is told by the programs, and what the programs tell is well formed.
#
#   tests/metrics/run.sh [PATH-OF-LONGSHORE]          default: target/debug/longshore
#
# It starts a `longshore dev` of its own. Needs python3 and promtool.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/scripts.sh
. "$here/../support/scripts.sh"
find_longshore "$@"
cd "$here/../../deploy/prometheus"
promtool check config prometheus.yml
promtool test rules alerts_test.yml
exec python3 "$here/verify.py" "$longshore" "$here/../../deploy"
