# syntax=docker/dockerfile:1
# Two images of this checkout: `gateway` (the router) and `platform` (Dagster, MLflow, admin).
#   docker build -f deploy/docker/platform.Dockerfile --target gateway -t assay/gateway .
#   docker build -f deploy/docker/platform.Dockerfile --target platform -t assay/platform .
FROM python:3.11-slim-bookworm AS base
ENV PATH=/app/.venv/bin:$PATH PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
RUN groupadd --gid 10001 assay \
    && useradd --uid 10001 --gid 10001 --no-log-init --create-home assay \
    && install --directory --owner=10001 --group=10001 /var/lib/assay
WORKDIR /app

FROM base AS build
# an index with wheels that PyPI has not, such as torch for CPUs
ARG UV_EXTRA_INDEX_URL=""
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_INDEX_STRATEGY=unsafe-best-match
RUN pip install --no-cache-dir uv==0.13.8 && uv venv /app/.venv
COPY constraints.txt ./

FROM build AS build-gateway
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /app/.venv/bin/python -c constraints.txt \
    hiredis httptools numpy orjson prometheus-client pydantic redis starlette uvicorn uvloop \
    opentelemetry-sdk opentelemetry-exporter-otlp-proto-http

FROM build AS build-platform
COPY pyproject.toml README.md ./
# the dependencies only: the code is found by PYTHONPATH
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /app/.venv/bin/python -c constraints.txt -r pyproject.toml \
    dagster-postgres==0.29.27 psycopg2-binary==2.9.13

FROM base AS gateway
COPY --from=build-gateway /app/.venv /app/.venv
COPY models models
COPY gateway gateway
USER 10001:10001
EXPOSE 3100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3100/readyz', timeout=2)"]
CMD ["python", "-m", "gateway"]

FROM base AS platform
COPY --from=build-platform /app/.venv /app/.venv
COPY pyproject.toml constraints.txt workspace.yaml ./
COPY models models
COPY gateway gateway
COPY bentos bentos
COPY stores stores
COPY assets assets
COPY orchestration orchestration
COPY dbt_project dbt_project
# dbt writes beside its project
RUN chown -R 10001:10001 dbt_project
USER 10001:10001
EXPOSE 3000 3900 5000
STOPSIGNAL SIGTERM
# what runs in it is said by who starts it, and so is how it is probed
HEALTHCHECK NONE
CMD ["python", "-c", "from orchestration.cli import app; app()", "--help"]
