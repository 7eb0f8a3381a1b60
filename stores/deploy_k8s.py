"""What Kubernetes is told: a kustomize base and three sizes of it.

The base is the recommended size. Secrets are no part of it: they are made from the home's keys
(the folder's README says how). nginx is for Compose; a cluster has an ingress of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from models.contracts.product import ModelProduct
from stores.dashboards import GATEWAY_PORT
from stores.deploy_names import (
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
from stores.deploy_network import REDIS_PORT, policies
from stores.deploy_objects import GROUP, Manifest, named

NAMESPACE, USER = "assay", 10001


class Size(NamedTuple):
    """A profile: how many containers there are at least and at most, and how large.

    Attributes:
        cores: Of a product's own ``cores`` (``memory``: of its ``memory_mb``).
    """

    least: int
    most: int
    cores: float
    memory: float


#: ``recommended`` is the base.
SIZES: Mapping[str, Size] = {
    "minimum": Size(1, 2, 0.5, 1.0),
    "recommended": Size(2, 6, 1.0, 1.0),
    "optimal": Size(3, 12, 2.0, 2.0),
}
_BASE = SIZES["recommended"]


class Folder(NamedTuple):
    """A folder of a claim: where it is seen, and which one inside when not the whole."""

    claim: str
    path: str
    inside: str = ""


class Part(NamedTuple):
    """A deployment of ours that is scaled."""

    name: str
    port: int
    image: str
    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    folders: tuple[Folder, ...]
    cores: float
    memory_mb: int
    gpu: int = 0


def manifests(
    products: Sequence[ModelProduct], releases: Mapping[str, str]
) -> dict[str, list[Manifest]]:
    """Name below ``k8s/`` to the documents of the file."""
    parts = [_router(), *(_service(one) for one in products)]
    ports = {part.name: part.port for part in parts}
    files = {
        "namespace": [_namespace()],
        "network": list(policies(parts[0].name, ports)),
        "redis": _redis(),
        "storage": [_claim("state"), _claim("spool")],
    }
    files |= {part.name: list(_scaled(part)) for part in parts}
    tags = [{"name": f"{IMAGES}/gateway", "newTag": "latest"}]
    tags += [{"name": image(p), "newTag": releases.get(p.key, NOT_RELEASED)} for p in products]
    base = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": NAMESPACE,
        "resources": [f"{name}.yaml" for name in files],
        "configMapGenerator": [{"name": "gateway-table", "files": ["table.json"]}],
        "images": tags,
    }
    made = {f"base/{name}.yaml": documents for name, documents in files.items()}
    made["base/kustomization.yaml"] = [base]
    for name, size in SIZES.items():
        made[f"overlays/{name}/kustomization.yaml"] = [_overlay(name, size, parts)]
    return made


def _router() -> Part:
    return Part(
        "router", GATEWAY_PORT, f"{IMAGES}/gateway", router_environment(),
        ("api-keys", "service-token"),
        # a rule's answers are logged by the router, where those of the product's models are
        (Folder("state", STATE), Folder("spool", f"{STATE}/spool")), 1.0, 512,
    )  # fmt: skip


def _service(product: ModelProduct) -> Part:
    return Part(
        host(product), SERVICE_PORT, image(product), service_environment(product.slug),
        ("model-key", "service-token"), (Folder("spool", SPOOL, product.slug),),
        product.serving.cores, product.serving.memory_mb, product.serving.gpu,
    )  # fmt: skip


def _namespace() -> Manifest:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": labels}}  # fmt: skip


def _claim(name: str) -> Manifest:
    """A folder that several pods write to: logs have a writer's name in every file."""
    return named("v1", "PersistentVolumeClaim", name, {
        "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}},
    })  # fmt: skip


def _scaled(part: Part) -> Iterator[Manifest]:
    yield _deployment(part)
    yield named("v1", "Service", part.name, {
        "selector": {GROUP: part.name},
        "ports": [{"name": "http", "port": part.port, "targetPort": "http"}],
    })  # fmt: skip
    yield named("autoscaling/v2", "HorizontalPodAutoscaler", part.name, {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": part.name},
        "minReplicas": _BASE.least, "maxReplicas": _BASE.most,
        "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
    })  # fmt: skip
    yield named("policy/v1", "PodDisruptionBudget", part.name, {
        "maxUnavailable": 1, "selector": {"matchLabels": {GROUP: part.name}},
    })  # fmt: skip


def _deployment(part: Part) -> Manifest:
    """No number of replicas: the autoscaler's would be overwritten at every apply."""
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(part.port)}
    return named("apps/v1", "Deployment", part.name, {
        "selector": {"matchLabels": {GROUP: part.name}},
        # a new release answers before an old one leaves
        "strategy": {"type": "RollingUpdate",
                     "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": {GROUP: part.name}, "annotations": scraped},
            "spec": _pod(part),
        },
    })  # fmt: skip


def _pod(part: Part) -> Manifest:
    mounted: list[Manifest] = [
        {"name": one.claim, "mountPath": one.path} | ({"subPath": one.inside} if one.inside else {})
        for one in part.folders
    ]
    volumes: list[Manifest] = [
        {"name": one.claim, "persistentVolumeClaim": {"claimName": one.claim}}
        for one in part.folders
    ]
    sources = [
        {"secret": {"name": secret, "items": [{"key": SECRETS[secret], "path": secret}]}}
        for secret in part.secrets
    ]
    volumes.append({"name": "secrets", "projected": {"sources": sources, "defaultMode": 0o440}})
    mounted.append({"name": "secrets", "mountPath": "/run/secrets", "readOnly": True})
    if part.name == "router":
        volumes.append({"name": "table", "configMap": {"name": "gateway-table"}})
        mounted.append({"name": "table", "mountPath": "/etc/assay", "readOnly": True})
    return {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "runAsGroup": USER,
                            "fsGroup": USER, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 45,
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {GROUP: part.name}}}],
        "containers": [_container(part) | {"volumeMounts": mounted}],
        "volumes": volumes,
    }  # fmt: skip


def _container(part: Part) -> Manifest:
    ready = {"httpGet": {"path": "/readyz", "port": "http"}}
    alive = {"httpGet": {"path": "/livez", "port": "http"}}
    return {
        "name": part.name,
        "image": part.image,
        "ports": [{"name": "http", "containerPort": part.port}],
        "env": [{"name": name, "value": value} for name, value in part.environment.items()],
        "resources": _resources(part, _BASE),
        # loading and warming up a model takes up to a minute
        "startupProbe": ready | {"periodSeconds": 2, "failureThreshold": 90},
        "readinessProbe": ready | {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 2},
        "livenessProbe": alive | {"periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
        # whoever sends to it learns some seconds later that it leaves
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "5"]}}},
        "securityContext": {"allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip


def _resources(part: Part, size: Size) -> Manifest:
    cores, memory = part.cores * size.cores, round(part.memory_mb * size.memory)
    gpus = {"nvidia.com/gpu": str(part.gpu)} if part.gpu else {}
    asked = {"cpu": f"{round(cores * 1000)}m", "memory": f"{memory}Mi"}
    # no bound on cores beyond twice: throttling shows as latency, a neighbour's need does not
    bound = {"cpu": f"{round(cores * 2000)}m", "memory": f"{memory}Mi"}
    return {"requests": asked | gpus, "limits": bound | gpus}


def _redis() -> list[Manifest]:
    container = {
        "name": "redis",
        "image": "redis:7.4-bookworm",
        # a cache and counters of rates: nothing to keep, and the oldest goes first
        "args": ["--save", "", "--appendonly", "no", "--maxmemory", "256mb",
                 "--maxmemory-policy", "allkeys-lru"],
        "ports": [{"name": "redis", "containerPort": REDIS_PORT}],
        "resources": {"requests": {"cpu": "100m", "memory": "384Mi"},
                      "limits": {"cpu": "500m", "memory": "384Mi"}},
        "readinessProbe": {"exec": {"command": ["redis-cli", "ping"]}, "periodSeconds": 5},
        "livenessProbe": {"tcpSocket": {"port": "redis"}, "periodSeconds": 10},
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]}},
    }  # fmt: skip
    pod = {
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 999, "runAsGroup": 999,
                            "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }  # fmt: skip
    deployment = named("apps/v1", "Deployment", "redis", {
        "replicas": 1,
        "selector": {"matchLabels": {GROUP: "redis"}},
        "template": {"metadata": {"labels": {GROUP: "redis"}}, "spec": pod},
    })  # fmt: skip
    service = named("v1", "Service", "redis", {
        "selector": {GROUP: "redis"}, "ports": [{"port": REDIS_PORT, "targetPort": "redis"}],
    })  # fmt: skip
    return [deployment, service]


def _overlay(name: str, size: Size, parts: Sequence[Part]) -> Manifest:
    """The base in another size; patches as text, so that the whole size is one file."""
    from stores.dashboards import as_yaml

    patches = []
    for part in parts:
        container = {"name": part.name, "resources": _resources(part, size)}
        patches.append(named("apps/v1", "Deployment", part.name, {
            "template": {"spec": {"containers": [container]}}}))  # fmt: skip
        patches.append(named("autoscaling/v2", "HorizontalPodAutoscaler", part.name, {
            "minReplicas": size.least, "maxReplicas": size.most}))  # fmt: skip
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../base"],
        "patches": [] if name == "recommended" else [{"patch": as_yaml(one)} for one in patches],
    }
