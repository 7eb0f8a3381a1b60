"""The folder that puts assay into containers: Compose, Kubernetes, nginx, Prometheus, Grafana.

Made from the products and the catalogue of metrics, so a new product or panel is one command away.
Files only: nothing is built, started or applied here. What Compose and Kubernetes are told is in
``deploy_compose`` and ``deploy_k8s``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from models.contracts.product import ModelProduct
from models.contracts.routing import Member, ProductRoutes, RoutingTable
from stores import dashboards, deploy_k8s
from stores.bento_store import ARTIFACT
from stores.dashboards import GATEWAY_PORT, Site, as_yaml, dashboard_files
from stores.deploy_compose import compose, single
from stores.deploy_names import BENTOS, SERVICE_PORT, host
from stores.files import write_atomic
from stores.home import ADMIN_PORT
from stores.templates import FOLDER

_HEADER = "# Written by `assay deploy`; change the products or stores/deploy_*.py, not this.\n"
_ORCHESTRATION = Path(__file__).parents[1] / "orchestration"
_DAGSTER = (_ORCHESTRATION / "dagster.yaml", _ORCHESTRATION / "dagster_postgres.yaml")
#: MLflow's own is made by the container's environment.
_DATABASES = "-- Run once, by the first start of the container.\nCREATE DATABASE dagster;\n"
_WATCH_FOLDERS = {
    dashboards.PROMETHEUS: "prometheus",
    dashboards.PROMETHEUS_RULES: "prometheus",
    dashboards.ALERTMANAGER: "alertmanager",
    dashboards.GRAFANA_DASHBOARD: "grafana/dashboards",
    dashboards.GRAFANA_SOURCE: "grafana/provisioning/datasources",
    dashboards.GRAFANA_PROVIDER: "grafana/provisioning/dashboards",
}


def write_deploy(
    folder: Path,
    products: Sequence[ModelProduct],
    releases: Mapping[str, str] | None = None,
    webhook: str | None = None,
) -> tuple[Path, ...]:
    """Write every file, each in one step.

    Args:
        folder: Made when missing.
        products: What is served.
        releases: Key to the release version that serves; others are left open.
        webhook: Takes what Alertmanager tells.

    Returns:
        The paths.
    """
    made = deploy_files(products, releases or {}, webhook)
    for name, text in made.items():
        write_atomic(folder / name, text)
    return tuple(folder / name for name in made)


def deploy_files(
    products: Sequence[ModelProduct], releases: Mapping[str, str], webhook: str | None = None
) -> dict[str, str]:
    """Name below the folder to content."""
    table = routing_table(products, releases)
    made = {
        "README.md": _template("deploy.md"),
        "compose.yaml": _HEADER + as_yaml(compose(products, releases)),
        "single.compose.yaml": _HEADER + as_yaml(single(products)),
        "docker/platform.Dockerfile": _template("platform.Dockerfile"),
        "dagster/dagster.yaml": "".join(part.read_text(encoding="utf-8") for part in _DAGSTER),
        "postgres/databases.sql": _DATABASES,
        "nginx/nginx.conf": _template("nginx.conf"),
        "gateway/table.json": table,
        "gateway/single.json": single_table(products, releases),
    }
    for name, text in dashboard_files(site(products, webhook)).items():
        header = "" if name.endswith(".json") else _HEADER
        made[f"{_WATCH_FOLDERS[name]}/{name}"] = header + text
    for name, content in deploy_k8s.manifests(products, releases).items():
        made[f"k8s/{name}"] = _HEADER + "---\n".join(as_yaml(one) for one in content)
    return made | {"k8s/base/table.json": table}


def site(products: Sequence[ModelProduct], webhook: str | None = None) -> Site:
    """Where the containers of ``compose.yaml`` reach each other."""
    return Site(
        routers=(f"router:{GATEWAY_PORT}",),
        platform=f"admin:{ADMIN_PORT}",
        services={one.key: f"{host(one)}:{SERVICE_PORT}" for one in products},
        alertmanager="alertmanager:9093",
        prometheus="http://prometheus:9090",
        webhook=webhook,
    )


def routing_table(products: Sequence[ModelProduct], releases: Mapping[str, str]) -> str:
    """What the router serves: the released products, each by its container."""
    return _table({
        one.key: Member(version=releases[one.key], semver="", artifact=None,
                        url=f"http://{host(one)}:{SERVICE_PORT}")
        for one in products if one.key in releases
    })  # fmt: skip


def single_table(products: Sequence[ModelProduct], releases: Mapping[str, str]) -> str:
    """What the one process serves: the released products, each from BentoML's model store."""
    return _table({
        one.key: Member(version=releases[one.key], semver="", url=None,
                        artifact=f"{BENTOS}/models/{one.slug}/{releases[one.key]}/{ARTIFACT}")
        for one in products if one.key in releases
    })  # fmt: skip


def _table(members: Mapping[str, Member]) -> str:
    routes = {
        key: ProductRoutes(
            product=key, champion=one.version, previous=None, members={one.version: one}
        )
        for key, one in members.items()
    }
    # no clock: the same releases make the same file
    written = datetime(2000, 1, 1, tzinfo=UTC)
    return (
        RoutingTable(generation=1, written_at=written, products=routes).model_dump_json(indent=1)
        + "\n"
    )


def _template(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
