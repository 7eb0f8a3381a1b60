"""Public files, downloaded once and proven to be the pinned ones. Knows no source."""

from __future__ import annotations

from pathlib import Path

from stores.landing import LandingError


def fetch_public(base_url: str, file: str, sha256: str, cache: Path) -> Path:
    """Download a public file once and verify it.

    Args:
        base_url: Address of the folder that holds the file.
        file: Path below it.
        sha256: The pinned digest.
        cache: Folder that keeps the verified file.

    Returns:
        The verified local file.

    Raises:
        LandingError: No network, no such file, or another content than the pinned one.
    """
    import pooch
    import requests

    url = f"{base_url.rstrip('/')}/{file}"
    try:
        found = pooch.retrieve(url, known_hash=f"sha256:{sha256}", path=cache,
                               fname=file.replace("/", "__"))  # fmt: skip
    except ValueError as error:
        step = "check the address, or look at the change and pin its new sha256 in the source"
        raise LandingError(f"{url} is not the pinned file ({error}); {step}") from error
    except (requests.RequestException, OSError) as error:
        step = "check the network and the address, or use the mirror or the generator as origin"
        raise LandingError(f"{url} cannot be fetched ({error}); {step}") from error
    return Path(found)
