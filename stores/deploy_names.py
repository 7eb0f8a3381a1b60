"""What Compose and Kubernetes must call alike: hosts, images, ports, folders, secrets, settings."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from models.contracts.product import ModelProduct
from stores.dashboards import GATEWAY_PORT
from stores.home import ADMIN_PORT

IMAGES = "assay"
#: Tag of a product that nobody named a release for: no such image is ever built.
NOT_RELEASED = "not-released"
SERVICE_PORT = 3000
#: What a process in a container listens on.
EVERYWHERE = "0.0.0.0"  # noqa: S104
#: BentoML's home in an image of a service, see ``templates/service.Dockerfile``.
BENTOS = "/home/assay/bentoml"
#: Folder of a gateway's state (as a home), and of a service's log.
STATE, SPOOL = "/var/lib/assay", "/var/spool/assay"
#: Secret to its file below ``<home>/keys``; mounted as ``/run/secrets/<secret>``.
SECRETS: Mapping[str, str] = MappingProxyType(
    {
        "api-keys": "api-keys.json",
        "model-key": "signing.pub.pem",
        "service-token": "service-token",
    }
)
_MOUNTED = "/run/secrets"
_REDIS = "redis://redis:6379/0"


def host(product: ModelProduct) -> str:
    """Name of a product's service in the network; an underscore is in no host name."""
    return product.slug.replace("_", "-")


def image(product: ModelProduct) -> str:
    """Image of a product's bento, without its tag."""
    return f"{IMAGES}/{host(product)}"


def service_environment(slug: str) -> dict[str, str]:
    """Settings of a product's service."""
    return {
        "ASSAY_PUBLIC_KEY": f"{_MOUNTED}/model-key",
        "ASSAY_SERVICE_TOKEN_FILE": f"{_MOUNTED}/service-token",
        "ASSAY_SPOOL": SPOOL,
        "ASSAY_REDIS_URL": _REDIS,
        "OTEL_SERVICE_NAME": f"assay-{slug}",
    }


def router_environment() -> dict[str, str]:
    """Settings of a router."""
    return {
        "ASSAY_HOME": STATE,
        "ASSAY_HOST": EVERYWHERE,
        "ASSAY_PORT": str(GATEWAY_PORT),
        "ASSAY_TABLE": "/etc/assay/table.json",
        "ASSAY_KEYS": f"{_MOUNTED}/api-keys",
        "ASSAY_SERVICE_TOKEN_FILE": f"{_MOUNTED}/service-token",
        "ASSAY_ADMIN_URL": f"http://admin:{ADMIN_PORT}",
        "ASSAY_REDIS_URL": _REDIS,
        "OTEL_SERVICE_NAME": "assay-router",
    }
