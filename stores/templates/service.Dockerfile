# syntax=docker/dockerfile:1
# Image of one bento: `bentoml containerize TAG` builds it with the bento, models and all, as context.
# No compiler and no package manager's leftovers in it; it runs as a user with a number, which
# Kubernetes can check. BentoML's own Dockerfile has one stage and no HEALTHCHECK.
FROM python:3.11-slim-bookworm AS build
# an index with wheels that PyPI has not, such as torch for CPUs
ARG UV_EXTRA_INDEX_URL=""
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_INDEX_STRATEGY=unsafe-best-match
RUN pip install --no-cache-dir uv==0.13.8 && uv venv /app/.venv
COPY env/python/requirements.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/root/.cache/uv \
    uv pip install --python /app/.venv/bin/python -r /tmp/requirements.txt

FROM python:3.11-slim-bookworm
RUN groupadd --gid 10001 assay \
    && useradd --uid 10001 --gid 10001 --no-log-init --create-home --home-dir /home/assay assay
ENV PATH=/app/.venv/bin:$PATH \
    BENTOML_HOME=/home/assay/bentoml BENTOML_CONTAINERIZED=true BENTOML_DO_NOT_TRACK=True \
    BENTO_PATH=/home/assay/bento \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LANG=C.UTF-8
COPY --from=build /app/.venv /app/.venv
COPY --chown=10001:10001 . /home/assay/bento
WORKDIR /home/assay/bento
USER 10001:10001
EXPOSE 3000
STOPSIGNAL SIGTERM
# loading and warming up a model takes up to a minute
HEALTHCHECK --interval=10s --timeout=3s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3000/readyz', timeout=2)"]
ENTRYPOINT ["bentoml", "serve", "/home/assay/bento", "--host", "0.0.0.0", "--port", "3000"]
