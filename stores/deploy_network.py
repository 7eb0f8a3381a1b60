"""Who may reach whom in the cluster: nothing reaches anything, but what is said here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stores.deploy_objects import GROUP, Manifest, named

REDIS_PORT = 6379


def policies(router: str, ports: Mapping[str, int]) -> Iterator[Manifest]:
    """Everybody may reach the router, the router its services, all of ours Redis.

    Args:
        router: Its name.
        ports: Of router and services, by name.
    """
    own: Manifest = {"podSelector": {}}
    watching = {"namespaceSelector": {
        "matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}  # fmt: skip
    names = [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]
    yield named("networking.k8s.io/v1", "NetworkPolicy", "nothing", {
        "podSelector": {}, "policyTypes": ["Ingress", "Egress"],
        # traces go to a collector beside Prometheus
        "egress": [{"to": [own, watching]}, {"ports": names}],
    })  # fmt: skip
    yield _reachable(router, ports[router], None)
    asks = {"podSelector": {"matchLabels": {GROUP: router}}}
    for name, port in ports.items():
        if name != router:
            yield _reachable(name, port, [asks, watching])
    users = {"podSelector": {"matchExpressions": [
        {"key": GROUP, "operator": "In", "values": list(ports)}]}}  # fmt: skip
    yield _reachable("redis", REDIS_PORT, [users])


def _reachable(name: str, port: int, by: list[Manifest] | None) -> Manifest:
    sources = {"from": by} if by else {}
    return named("networking.k8s.io/v1", "NetworkPolicy", name, {
        "podSelector": {"matchLabels": {GROUP: name}},
        "policyTypes": ["Ingress"],
        "ingress": [sources | {"ports": [{"port": port, "protocol": "TCP"}]}],
    })  # fmt: skip
