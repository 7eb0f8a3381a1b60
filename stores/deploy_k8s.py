"""What Kubernetes is told: a kustomize base and three sizes of it.

The base is the recommended size. Secrets are no part of it: they are made from the home's keys
(the folder's README says how). nginx is for Compose; a cluster has an ingress of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

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

NAMESPACE, USER, REDIS_PORT = "assay", 10001, 6379
_GROUP = "app.kubernetes.io/name"

Manifest = dict[str, Any]


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


class Part(NamedTuple):
    """A deployment of ours that is scaled."""

    name: str
    port: int
    image: str
    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    folders: Mapping[str, str]
    cores: float
    memory_mb: int
    gpu: int = 0


def manifests(
    products: Sequence[ModelProduct], releases: Mapping[str, str]
) -> dict[str, list[Manifest]]:
    """Name below ``k8s/`` to the documents of the file."""
    parts = [_router(), *(_service(one) for one in products)]
    files = {"namespace": [_namespace()], "network": list(_policies(parts)), "redis": _redis(),
             "storage": [_claim("state"), _claim("spool")]}  # fmt: skip
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
        ("api-keys", "service-token"), {"state": STATE}, 1.0, 512,
    )  # fmt: skip


def _service(product: ModelProduct) -> Part:
    return Part(
        host(product), SERVICE_PORT, image(product), service_environment(product.slug),
        ("model-key", "service-token"), {"spool": SPOOL},
        product.serving.cores, product.serving.memory_mb, product.serving.gpu,
    )  # fmt: skip


def _namespace() -> Manifest:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": labels}}  # fmt: skip


def _claim(name: str) -> Manifest:
    """A folder that several pods write to: logs have a writer's name in every file."""
    return _object("v1", "PersistentVolumeClaim", name, {
        "accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}},
    })  # fmt: skip


def _scaled(part: Part) -> Iterator[Manifest]:
    yield _deployment(part)
    yield _object("v1", "Service", part.name, {
        "selector": {_GROUP: part.name},
        "ports": [{"name": "http", "port": part.port, "targetPort": "http"}],
    })  # fmt: skip
    yield _object("autoscaling/v2", "HorizontalPodAutoscaler", part.name, {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": part.name},
        "minReplicas": _BASE.least, "maxReplicas": _BASE.most,
        "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}}],
    })  # fmt: skip
    yield _object("policy/v1", "PodDisruptionBudget", part.name, {
        "maxUnavailable": 1, "selector": {"matchLabels": {_GROUP: part.name}},
    })  # fmt: skip


def _deployment(part: Part) -> Manifest:
    """No number of replicas: the autoscaler's would be overwritten at every apply."""
    scraped = {"prometheus.io/scrape": "true", "prometheus.io/port": str(part.port)}
    return _object("apps/v1", "Deployment", part.name, {
        "selector": {"matchLabels": {_GROUP: part.name}},
        # a new release answers before an old one leaves
        "strategy": {"type": "RollingUpdate",
                     "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": {
            "metadata": {"labels": {_GROUP: part.name}, "annotations": scraped},
            "spec": _pod(part),
        },
    })  # fmt: skip


def _pod(part: Part) -> Manifest:
    mounted: list[Manifest] = [
        {"name": name, "mountPath": path} for name, path in part.folders.items()
    ]
    volumes: list[Manifest] = [
        {"name": name, "persistentVolumeClaim": {"claimName": name}} for name in part.folders
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
            "labelSelector": {"matchLabels": {_GROUP: part.name}}}],
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
    deployment = _object("apps/v1", "Deployment", "redis", {
        "replicas": 1,
        "selector": {"matchLabels": {_GROUP: "redis"}},
        "template": {"metadata": {"labels": {_GROUP: "redis"}}, "spec": pod},
    })  # fmt: skip
    service = _object("v1", "Service", "redis", {
        "selector": {_GROUP: "redis"}, "ports": [{"port": REDIS_PORT, "targetPort": "redis"}],
    })  # fmt: skip
    return [deployment, service]


def _policies(parts: Sequence[Part]) -> Iterator[Manifest]:
    """Nothing reaches anything, but: all the router, the router its services, both Redis."""
    router, services = parts[0], parts[1:]
    own: Manifest = {"podSelector": {}}
    monitoring = {"namespaceSelector": {
        "matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}  # fmt: skip
    yield _object("networking.k8s.io/v1", "NetworkPolicy", "nothing", {
        "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
        "egress": [{"to": [own]}, {"ports": [{"port": 53, "protocol": "UDP"},
                                             {"port": 53, "protocol": "TCP"}]}],
    })  # fmt: skip
    yield _reachable(router.name, router.port, None)
    asks = {"podSelector": {"matchLabels": {_GROUP: router.name}}}
    for part in services:
        yield _reachable(part.name, part.port, [asks, monitoring])
    answering = [part.name for part in parts]
    users = {"podSelector": {"matchExpressions": [
        {"key": _GROUP, "operator": "In", "values": answering}]}}  # fmt: skip
    yield _reachable("redis", REDIS_PORT, [users])


def _reachable(name: str, port: int, by: list[Manifest] | None) -> Manifest:
    sources = {"from": by} if by else {}
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, {
        "podSelector": {"matchLabels": {_GROUP: name}},
        "policyTypes": ["Ingress"],
        "ingress": [sources | {"ports": [{"port": port, "protocol": "TCP"}]}],
    })  # fmt: skip


def _overlay(name: str, size: Size, parts: Sequence[Part]) -> Manifest:
    """The base in another size; patches as text, so that the whole size is one file."""
    from stores.dashboards import as_yaml

    patches = []
    for part in parts:
        container = {"name": part.name, "resources": _resources(part, size)}
        patches.append(_object("apps/v1", "Deployment", part.name, {
            "template": {"spec": {"containers": [container]}}}))  # fmt: skip
        patches.append(_object("autoscaling/v2", "HorizontalPodAutoscaler", part.name, {
            "minReplicas": size.least, "maxReplicas": size.most}))  # fmt: skip
    return {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": ["../../base"],
        "patches": [] if name == "recommended" else [{"patch": as_yaml(one)} for one in patches],
    }


def _object(version: str, kind: str, name: str, spec: Manifest) -> Manifest:
    labels = {_GROUP: name, "app.kubernetes.io/part-of": "assay"}
    return {"apiVersion": version, "kind": kind,
            "metadata": {"name": name, "labels": labels}, "spec": spec}  # fmt: skip
