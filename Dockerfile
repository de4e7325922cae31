# The images of Longshore, one target each:
#
#   docker build --target api    --tag longshore-api    .     the HTTP API
#   docker build --target worker --tag longshore-worker .     runs jobs
#   docker build --target cli    --tag longshore        .     the command line: docker run --rm longshore --help
#   docker build --target pooler --tag longshore-pooler .     PgBouncer, for trying Longshore behind a connection pooler
#
# The first three hold their program, the command line `longshore`, Debian's C library and root certificates, and nothing
# of the compiler. They run as a plain user, write nothing to their own file system (run them with --read-only) and stop
# cleanly on SIGTERM. Settings come from LONGSHORE_… in the environment, or from a file mounted as
# /etc/longshore/longshore.toml.

# ------------------------------------------------------------------------------------------------------- building
FROM rust:1.95-slim-trixie AS programs
WORKDIR /build
# Without line tables the programs are much smaller; a panic names its file and line all the same.
ENV CARGO_PROFILE_RELEASE_DEBUG=false
COPY Cargo.toml Cargo.lock ./
COPY common common
COPY api api
# the pages that the API serves, as they were built
COPY dashboard/dist dashboard/dist
COPY worker worker
COPY src src
# named by the workspace; it has an image of its own
COPY examples/rust examples/rust
# Fetched crates and compiled dependencies are kept in two caches beside the image layers: after a change of the code
# only the project's own crates are compiled again. A cache is no part of any layer, so the programs are copied out in
# the same step. One build at a time may use the target folder (sharing=locked). Cargo tells by a file's time whether
# it has changed; `touch` makes all of ours new, since the cache may hold the programs of another, later checkout.
# The command line can bring a PostgreSQL along (feature "embedded"); in a container the database is another one.
RUN --mount=type=cache,id=longshore-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=longshore-target,target=/build/target,sharing=locked \
    find api common src worker -type f -exec touch {} + \
 && cargo build --release --locked --no-default-features --package longshore --package longshore-api --package longshore-worker \
 && mkdir /programs \
 && cp target/release/longshore target/release/longshore-api target/release/longshore-worker /programs/

# -------------------------------------------------------------------------------------------------------- running
FROM debian:trixie-slim AS base
# A fixed number, so that volumes, Kubernetes' runAsNonRoot and audits can name it.
RUN groupadd --gid 10001 longshore \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin longshore
# The slim image has no root certificates, and without them no TLS connection can be checked. The compiler's has.
COPY --from=programs /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
# For whoever looks inside: docker exec longshore-worker-1 longshore jobs
COPY --from=programs /programs/longshore /usr/local/bin/
# Where longshore.toml is looked for.
WORKDIR /etc/longshore
USER 10001:10001
STOPSIGNAL SIGTERM
LABEL org.opencontainers.image.vendor="Longshore" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.base.name="debian:trixie-slim"

FROM base AS cli
ENTRYPOINT ["longshore"]
CMD ["--help"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="longshore" \
      org.opencontainers.image.description="The command line of Longshore, a durable job server on PostgreSQL" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

FROM base AS worker
COPY --from=programs /programs/longshore-worker /usr/local/bin/
# Healthy: this worker's heartbeats reach the database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["longshore-worker", "health"]
ENTRYPOINT ["longshore-worker"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="longshore-worker" \
      org.opencontainers.image.description="Longshore's worker: leases jobs, runs their handlers, records the outcomes" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"

FROM debian:trixie-slim AS pooler
# Debian's newest of this release, security fixes included: a pinned version would miss them, and vanish from its mirrors.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends pgbouncer \
 && rm -rf /var/lib/apt/lists/*
COPY deploy/pgbouncer/ /etc/pgbouncer/
USER 10001:10001
STOPSIGNAL SIGINT
EXPOSE 6432
CMD ["pgbouncer", "/etc/pgbouncer/pgbouncer.ini"]

# Last, so that a plain `docker build .` makes the API.
FROM base AS api
COPY --from=programs /programs/longshore-api /usr/local/bin/
# For readers: where it listens is LONGSHORE_API__LISTEN, by default only inside the container.
EXPOSE 8000
# Healthy: it answers, and reaches the database.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["longshore-api", "health"]
ENTRYPOINT ["longshore-api"]
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="longshore-api" \
      org.opencontainers.image.description="The HTTP API of Longshore, a durable job server on PostgreSQL" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
