"""What Compose is told: the containers of ``compose.yaml`` and ``single.compose.yaml``.

Profiles: ``core`` answers requests, ``platform`` trains and releases, ``watch`` looks on, ``edge``
ends TLS. Only the edge is reachable from other machines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.contracts.product import ModelProduct
from stores.dashboards import GATEWAY_PORT
from stores.deploy_names import (
    BENTOS,
    EVERYWHERE,
    IMAGES,
    NOT_RELEASED,
    SECRETS,
    SERVICE_PORT,
    SPOOL,
    STATE,
    host,
    image,
    router_environment,
    service_environment,
)
from stores.home import ADMIN_PORT

_HOME = "${ASSAY_HOME:-../var}"
_TRACES = {"ASSAY_OTLP_URL": "${ASSAY_OTLP_URL:-}"}
_BUILD = {"context": "..", "dockerfile": "deploy/docker/platform.Dockerfile"}
#: What every container gives up, and how it is kept running.
_BOUNDED: dict[str, Any] = {
    "restart": "unless-stopped",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}
#: Ours run as whoever owns the home, so that they may read its keys.
_OURS = _BOUNDED | {"user": "${ASSAY_UID:-10001}:${ASSAY_GID:-10001}", "init": True}


def compose(products: Sequence[ModelProduct], releases: Mapping[str, str]) -> dict[str, Any]:
    """``compose.yaml``: profiles core, platform, watch, edge."""
    services: dict[str, Any] = {"router": _router(products), "redis": _redis()}
    for one in products:
        services[host(one)] = _service(one, releases.get(one.key, NOT_RELEASED))
    return {
        "services": services | _platform() | _watch() | {"nginx": _nginx()},
        "volumes": {name: {} for name in ("postgres", "prometheus", "alertmanager", "grafana")},
        "secrets": {name: {"file": f"{_HOME}/keys/{file}"} for name, file in SECRETS.items()},
    }


def single(products: Sequence[ModelProduct]) -> dict[str, Any]:
    """``single.compose.yaml``: one process that answers for all products."""
    cores = max(one.serving.cores for one in products)
    memory = sum(one.serving.memory_mb for one in products)
    environment = service_environment("single") | router_environment() | _TRACES
    environment |= {"OTEL_SERVICE_NAME": "assay-front-door"}
    front = {
        "image": f"{IMAGES}/front-door:${{FRONT_DOOR_TAG:-{NOT_RELEASED}}}",
        **_OURS,
        "environment": environment,
        "ports": [f"127.0.0.1:{GATEWAY_PORT}:{SERVICE_PORT}"],
        "volumes": [
            "./gateway/single.json:/etc/assay/table.json:ro",
            f"{_HOME}/gateway:{STATE}/gateway",
            f"{_HOME}/rollouts:{STATE}/rollouts",
            f"{_HOME}/online:{STATE}/online:ro",
            f"{_HOME}/bentos/models:{BENTOS}/models:ro",
            f"{_HOME}/spool:{SPOOL}",
        ],
        "secrets": list(SECRETS),
        "deploy": _limits(cores, memory),
        "stop_grace_period": "30s",
    }
    return {
        "services": {"front-door": front, "redis": _redis(profiles=False)},
        "secrets": {name: {"file": f"{_HOME}/keys/{file}"} for name, file in SECRETS.items()},
    }


def _router(products: Sequence[ModelProduct]) -> dict[str, Any]:
    return {
        "image": f"{IMAGES}/gateway:${{GATEWAY_TAG:-latest}}",
        "build": _BUILD | {"target": "gateway"},
        "profiles": ["core"],
        **_OURS,
        "environment": router_environment() | _TRACES,
        # everybody else comes through the edge
        "ports": [f"127.0.0.1:{GATEWAY_PORT}:{GATEWAY_PORT}"],
        "volumes": [
            "./gateway/table.json:/etc/assay/table.json:ro",
            f"{_HOME}/gateway:{STATE}/gateway",
            f"{_HOME}/rollouts:{STATE}/rollouts",
            f"{_HOME}/online:{STATE}/online:ro",
            f"{_HOME}/spool:{STATE}/spool",
        ],
        "secrets": ["api-keys", "service-token"],
        "depends_on": ["redis", *map(host, products)],
        "deploy": _limits(1.0, 512),
        "stop_grace_period": "30s",
    }  # fmt: skip


def _service(product: ModelProduct, version: str) -> dict[str, Any]:
    sizes = _limits(product.serving.cores, product.serving.memory_mb)
    if product.serving.gpu:
        device = {"driver": "nvidia", "count": product.serving.gpu, "capabilities": ["gpu"]}
        sizes["resources"]["reservations"] = {"devices": [device]}
    tag = f"${{{product.slug.upper()}_TAG:-{version}}}"
    return {
        "image": f"{image(product)}:{tag}",
        "profiles": ["core"],
        **_OURS,
        "environment": service_environment(product.slug) | _TRACES,
        "volumes": [f"{_HOME}/spool/{product.slug}:{SPOOL}"],
        "secrets": ["model-key", "service-token"],
        "deploy": sizes,
        "stop_grace_period": "30s",
    }


def _redis(profiles: bool = True) -> dict[str, Any]:
    return {
        "image": "redis:7.4-bookworm",
        **({"profiles": ["core"]} if profiles else {}),
        **_BOUNDED,
        "user": "999:999",
        # a cache and counters of rates: nothing to keep, and the oldest goes first
        "command": ["redis-server", "--save", "", "--appendonly", "no", "--maxmemory", "256mb",
                    "--maxmemory-policy", "allkeys-lru"],
        "healthcheck": {"test": ["CMD", "redis-cli", "ping"], "interval": "10s", "timeout": "3s",
                        "retries": 3},
        "deploy": _limits(0.5, 384),
    }  # fmt: skip


#: Of Dagster and of MLflow, each with a database of its own; takes the password.
_POSTGRES = "postgresql+psycopg2://assay:{}@postgres:5432"


def _platform() -> dict[str, Any]:
    """Dagster, MLflow on Postgres, and the admin service; they share one home."""
    common = {
        "image": f"{IMAGES}/platform:${{PLATFORM_TAG:-latest}}",
        "profiles": ["platform"],
        **_OURS,
        "environment": {
            "ASSAY_HOME": STATE, "DAGSTER_HOME": f"{STATE}/dagster",
            "ASSAY_MLFLOW_URI": "http://mlflow:5000",
            "ASSAY_ALERT_URLS": "${ASSAY_ALERT_URLS:-}",
            "ASSAY_DAGSTER_URL": f"{_POSTGRES.format('${POSTGRES_PASSWORD:-}')}/dagster",
        },
        "volumes": [f"{_HOME}:{STATE}",
                    f"./dagster/dagster.yaml:{STATE}/dagster/dagster.yaml:ro"],
        "depends_on": ["mlflow", "postgres"],
        "stop_grace_period": "60s",
    }  # fmt: skip
    return {
        "dagster-webserver": common | {
            "build": _BUILD | {"target": "platform"},
            "command": ["dagster-webserver", "-w", "workspace.yaml", "-h", EVERYWHERE,
                        "-p", "3000"],
            "ports": ["127.0.0.1:3000:3000"],
            "deploy": _limits(1.0, 1024),
        },
        "dagster-daemon": common | {
            "command": ["dagster-daemon", "run", "-w", "workspace.yaml"],
            "deploy": _limits(2.0, 6144),
        },
        "admin": common | {
            # it looks whether the services that the daemon started still run
            "pid": "service:dagster-daemon",
            "depends_on": ["mlflow", "postgres", "dagster-daemon"],
            "command": ["uvicorn", "--factory", "orchestration.admin:app", "--host", EVERYWHERE,
                        "--port", str(ADMIN_PORT)],
            "ports": [f"127.0.0.1:{ADMIN_PORT}:{ADMIN_PORT}"],
            "deploy": _limits(1.0, 1024),
        },
    } | _tracking(common)  # fmt: skip


def _tracking(common: dict[str, Any]) -> dict[str, Any]:
    database = f"{_POSTGRES.format('$${POSTGRES_PASSWORD}')}/mlflow"
    password = {"POSTGRES_PASSWORD": "${POSTGRES_PASSWORD:-}"}
    return {
        "mlflow": common | {
            "depends_on": ["postgres"],
            "environment": {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"} | password,
            "entrypoint": ["sh", "-c"],
            "command": [f'exec mlflow server --backend-store-uri "{database}"'
                        f" --artifacts-destination {STATE}/mlruns --host 0.0.0.0 --port 5000"
                        " --workers 1 --allowed-hosts mlflow:5000,localhost:5000,127.0.0.1:5000"],
            "ports": ["127.0.0.1:5000:5000"],
            "deploy": _limits(1.0, 1024),
        },
        "postgres": {
            "image": "postgres:17-bookworm",
            "profiles": ["platform"],
            "restart": "unless-stopped",
            "environment": {"POSTGRES_USER": "assay", "POSTGRES_DB": "mlflow"} | password,
            "volumes": ["postgres:/var/lib/postgresql/data",
                        "./postgres/databases.sql:/docker-entrypoint-initdb.d/databases.sql:ro"],
            "healthcheck": {"test": ["CMD", "pg_isready", "-U", "assay"], "interval": "10s",
                            "timeout": "3s", "retries": 5},
            "deploy": _limits(1.0, 512),
        },
    }  # fmt: skip


def _watch() -> dict[str, Any]:
    common = {"profiles": ["watch"], **_BOUNDED}
    return {
        "prometheus": common | {
            "image": "prom/prometheus:v3.5.0",
            "command": ["--config.file=/etc/prometheus/prometheus.yml",
                        "--storage.tsdb.path=/prometheus", "--storage.tsdb.retention.time=30d"],
            "ports": ["127.0.0.1:9090:9090"],
            "volumes": ["./prometheus:/etc/prometheus:ro", "prometheus:/prometheus"],
            "deploy": _limits(1.0, 1024),
        },
        "alertmanager": common | {
            "image": "prom/alertmanager:v0.28.1",
            "command": ["--config.file=/etc/alertmanager/alertmanager.yml",
                        "--storage.path=/alertmanager"],
            "ports": ["127.0.0.1:9093:9093"],
            "volumes": ["./alertmanager:/etc/alertmanager:ro", "alertmanager:/alertmanager"],
            "deploy": _limits(0.5, 256),
        },
        "grafana": common | {
            "image": "grafana/grafana:12.2.0",
            "environment": {"GF_SECURITY_ADMIN_PASSWORD": "${GRAFANA_PASSWORD:-}",
                            "GF_ANALYTICS_REPORTING_ENABLED": "false"},
            "ports": ["127.0.0.1:3001:3000"],
            "volumes": ["./grafana/provisioning:/etc/grafana/provisioning:ro",
                        "./grafana/dashboards:/var/lib/grafana/dashboards:ro",
                        "grafana:/var/lib/grafana"],
            "deploy": _limits(0.5, 512),
        },
    }  # fmt: skip


def _nginx() -> dict[str, Any]:
    return {
        "image": "nginxinc/nginx-unprivileged:1.28-bookworm",
        "profiles": ["edge"],
        **_BOUNDED,
        "ports": ["80:8080", "443:8443"],
        "volumes": ["./nginx/nginx.conf:/etc/nginx/nginx.conf:ro",
                    "${ASSAY_TLS:-./nginx/tls}:/etc/nginx/tls:ro"],
        "depends_on": ["router"],
        "deploy": _limits(1.0, 256),
    }  # fmt: skip


def _limits(cores: float, megabytes: int) -> dict[str, Any]:
    return {"resources": {"limits": {"cpus": f"{cores:g}", "memory": f"{megabytes}M"}}}
