# What the tests that drive a built longshore from outside have in common; sourced by each.
# shellcheck shell=bash

# find_longshore [PATH]: sets longshore to that program, to $LONGSHORE, or to target/debug/longshore.
find_longshore() {
  longshore=$(realpath "${1:-${LONGSHORE:-$(dirname "${BASH_SOURCE[0]}")/../../target/debug/longshore}}")
  [[ -x $longshore ]] || {
    printf 'there is no %s: cargo build, or say where it is\n' "$longshore" >&2
    exit 1
  }
  # Debian keeps PostgreSQL's programs beside the PATH, a folder a version.
  for folder in /usr/lib/postgresql/*/bin; do PATH+=:$folder; done
}

# find_venv NAME PACKAGE…: sets venv to a place with these packages of Python, beside the linters of .ci/run; the name is new
# where they change.
find_venv() {
  venv=${XDG_CACHE_HOME:-$HOME/.cache}/longshore-ci/$1
  shift
  [[ -e $venv/complete ]] || {
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$@"
    touch "$venv/complete"
  }
}
