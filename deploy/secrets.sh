#!/usr/bin/env bash
# Makes what compose.prod.yaml wants to read from files, once: a password for the database, the URL with it, and
# certificates, so that the programs know that it is their database that they talk to.
#
#   deploy/secrets.sh              into secrets/, where nothing is overwritten
#
# Needs openssl. Keep the folder, and keep it from others: who has it has the database.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
umask 077
if [[ -e secrets ]]; then
  printf 'secrets/ is there already; it is left as it is\n' >&2
  exit 1
fi
command -v openssl >/dev/null || {
  printf 'please install openssl\n' >&2
  exit 1
}
new=$(mktemp -d ./secrets.XXXXXX)
trap 'rm -rf "$new"' EXIT
days=3650

# Letters and digits only: it stands in a URL.
password=$(openssl rand -hex 32)
printf '%s' "$password" >"$new/database_password"
# verify-full: the certificate must be signed by this authority and made for the name `db`.
printf 'postgres://longshore:%s@db:5432/longshore?sslmode=verify-full&sslrootcert=/run/secrets/database_authority' "$password" >"$new/database_url"

# An authority that signs this one certificate; its key is thrown away, so that it never signs another.
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days "$days" -subj "/CN=Longshore's database authority" \
  -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign \
  -keyout "$new/authority_key.pem" -out "$new/database_authority.pem" 2>/dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=db \
  -keyout "$new/database_key.pem" -out "$new/request.pem" 2>/dev/null
openssl x509 -req -in "$new/request.pem" -CA "$new/database_authority.pem" -CAkey "$new/authority_key.pem" -CAcreateserial -days "$days" \
  -extfile <(printf 'subjectAltName=DNS:db,DNS:localhost\nbasicConstraints=critical,CA:FALSE\nextendedKeyUsage=serverAuth\n') \
  -out "$new/database_certificate.pem" 2>/dev/null
rm -f "$new"/authority_key.pem "$new"/request.pem "$new"/*.srl

# The folder is closed to everybody but you. The files in it are not: in a container they are read by another user, to
# whom Compose hands them as they are.
chmod 0644 "$new"/*
mv "$new" secrets
trap - EXIT
printf 'made secrets/: %s\n' "$(cd secrets && echo *)"
