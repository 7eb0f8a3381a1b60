"""Files that are written as they stand; nothing else, so that who reads one depends on no other."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
#: Dockerfile of a bento: put where `bentoml containerize` looks, ``env/docker/Dockerfile``.
SERVICE_DOCKERFILE = FOLDER / "service.Dockerfile"
