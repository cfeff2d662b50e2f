# syntax=docker/dockerfile:1
# Debian 13 and Python 3.13.15. Dependabot proposes newer digests.
FROM python:3.13-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285 AS base

FROM base AS build
# mysqlclient has no wheels for Linux; pip builds it against the MariaDB client library.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libmariadb-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# --build-arg EXTRAS="telemetry sentry" installs what traces and Sentry need.
ARG EXTRAS=""
COPY requirements.txt requirements-telemetry.txt requirements-sentry.txt ./
RUN python -m venv /venv \
    && set -- -r requirements.txt && for extra in $EXTRAS; do set -- "$@" -r "requirements-$extra.txt"; done \
    && /venv/bin/pip install --no-cache-dir --require-hashes "$@"

FROM base
# ca-certificates brings the bundle for ssl_ca=/etc/ssl/certs/ca-certificates.crt in DATABASE_URL.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libmariadb3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 1000 --create-home farmlokal
COPY --from=build /venv /venv
WORKDIR /app
COPY . .
# Render lets group 1000 read its secret files.
USER 1000:1000
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PORT=8000
EXPOSE 8000
# gunicorn fails on an empty WEB_CONCURRENCY, which dashboards may set.
CMD ["sh", "-c", "WEB_CONCURRENCY=${WEB_CONCURRENCY:-2} exec gunicorn"]
