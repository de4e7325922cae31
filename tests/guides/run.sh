#!/usr/bin/env bash
# The programs in docs/guides/code, which the guides show, are run: each enqueues over HTTP and in a transaction, and its worker runs
# jobs, fails one, keeps a long one, is frozen beyond its lease, and stops.
#
#   tests/guides/run.sh [PATH-OF-LONGSHORE]          default: target/debug/longshore
#   LANGUAGES="go php" tests/guides/run.sh           only these
#
# Needs python3, psql, curl, jq, and node with npm. Go, Ruby, PHP and Java are run where they are there with their drivers (on Debian:
# golang-go golang-github-lib-pq-dev, ruby ruby-pg, php-cli php-pgsql, a JDK with libgoogle-gson-java libpostgresql-jdbc-java); what is
# left out is said. It starts a `longshore dev` of its own, and takes a minute.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/support/scripts.sh
. "$here/../support/scripts.sh"
find_longshore "$@"
find_venv psycopg-3.3.4 'psycopg[binary]==3.3.4'
# the packages of package.json, kept like those of Python; the name is new where they change
packages=$here/../../docs/guides/code/typescript/package.json
modules=${XDG_CACHE_HOME:-$HOME/.cache}/longshore-ci/guides-$(cksum <"$packages" | cut -d ' ' -f 1)
[[ -e $modules/complete ]] || {
  mkdir -p "$modules"
  cp "$packages" "$modules"
  npm install --prefix "$modules" --silent --no-audit --no-fund
  touch "$modules/complete"
}
exec "$venv/bin/python" "$here/verify.py" "$longshore" "$modules"
