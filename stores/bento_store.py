"""Packs a signed artifact and the service's code into a bento, once per release version.

Only files: what serves is ``stores.deployer``. BentoML fixes its home when it is imported, so the
work is done by a child process whose home is a scratch folder; what it made is moved into the real
home by renames. A crash in between leaves a scratch folder, never half a bento.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from models.contracts.product import Contract, ModelProduct
from models.contracts.routing import Rule
from stores.files import sha256, sync_folder, write_atomic
from stores.templates import SERVICE_DOCKERFILE

#: Subfolder of the stored model with the sealed artifact; ``bentos.runtime.ARTIFACT`` reads it.
ARTIFACT = "artifact"

#: Beside it, what answers when the model cannot: a sealed simpler one, and a rule.
BASELINE, RULE = "baseline", "rule.json"

#: What a service needs to run, by contract; pinned in the bento to the versions installed here.
_ALWAYS = ("bentoml", "numpy", "scipy", "pydantic", "model-signing", "pyopenssl", "threadpoolctl")
REQUIREMENTS: Mapping[Contract, tuple[str, ...]] = MappingProxyType(
    {
        "row_scores": (*_ALWAYS, "scikit-learn", "xgboost-cpu", "skops"),
        "text_labels": (
            *_ALWAYS, "scikit-learn", "safetensors", "torch", "transformers", "tokenizers",
            "onnxruntime", "captum",
        ),
        "ranked_items": (*_ALWAYS, "safetensors", "torch", "onnx", "onnxruntime"),
    }
)  # fmt: skip

#: Name of the bento of all products in one process; its service is ``bentos.front_door``.
FRONT_DOOR = "front_door"
#: What a gateway needs besides.
_GATEWAY = ("orjson", "httptools", "redis", "hiredis")
_PACKAGES = ("models", "gateway", "bentos")
_BUILD_SECONDS = 300
#: In a bento, what `bentoml containerize` builds its image by.
_DOCKERFILE = Path("env/docker/Dockerfile")


class BentoError(Exception):
    """A bento that could not be built; the message says why."""


@dataclass(frozen=True)
class BentoRef:
    """A built bento.

    Attributes:
        tag: ``<slug>:<version>``.
        path: Its folder.
        model_tag: Tag of the model inside.
    """

    tag: str
    path: Path
    model_tag: str


class Spares(NamedTuple):
    """What answers when a model cannot.

    Attributes:
        baseline: Folder of a simpler sealed model of the same product.
    """

    baseline: Path | None = None
    rule: Rule | None = None


def build(
    product: ModelProduct, artifact: Path, version: str, bento_home: Path, public_key: Path,
    *, spares: Callable[[], Spares] = Spares,
) -> BentoRef:  # fmt: skip
    """The bento of a release: built when there is none, found again afterwards.

    Args:
        product: What it serves.
        artifact: Sealed artifact folder; copied unchanged.
        version: Release version, the version of model and bento.
        bento_home: BentoML's home; made when missing.
        public_key: The artifact must verify against it.
        spares: Asked when it is built: what to pack beside the artifact.

    Returns:
        Where it lies and what it is called.

    Raises:
        BentoError: The artifact does not verify, the version was built from another artifact, or
            BentoML refused.
    """
    verify(artifact, public_key)
    model, bento = (bento_home / kind / product.slug / version for kind in ("models", "bentos"))
    if not (model.is_dir() and bento.is_dir()):
        bento_home.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".build-", dir=bento_home))
        try:
            _run_build(product, artifact, version, scratch)
            _add(spares(), scratch / model.relative_to(bento_home), public_key)
            shutil.copyfile(
                SERVICE_DOCKERFILE, scratch / bento.relative_to(bento_home) / _DOCKERFILE
            )
            for target in (model, bento):  # the bento last: where it is, its model is too
                _adopt(scratch / target.relative_to(bento_home), target)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    if _digests(model / ARTIFACT) != _digests(artifact):
        raise BentoError(
            f"{product.slug}:{version} already holds another artifact than {artifact}; a version"
            " is never rebuilt: release the candidate under a new version"
        )
    return BentoRef(f"{product.slug}:{version}", bento, f"{product.slug}:{version}")


def _add(spares: Spares, model: Path, public_key: Path) -> None:
    """Put what answers in need beside the artifact."""
    if spares.baseline is not None:
        verify(spares.baseline, public_key)
        shutil.copytree(spares.baseline, model / BASELINE)
    if spares.rule is not None:
        write_atomic(model / RULE, spares.rule.model_dump_json())


def verify(artifact: Path, public_key: Path) -> None:
    """Check the artifact's digests and signature.

    Raises:
        BentoError: It does not verify.
    """
    from models.core import artifact as sealed

    try:
        sealed.verify(artifact, public_key)
    except sealed.ArtifactError as error:
        raise BentoError(f"{artifact} is not packed: {error}") from error


def build_front_door(bento_home: Path, version: str) -> BentoRef:
    """The bento of all products in one process: code only, the routing table says which models.

    Args:
        bento_home: BentoML's home; made when missing.
        version: Of the code; a version that is there already is found again.

    Raises:
        BentoError: BentoML refused.
    """
    bento = bento_home / "bentos" / FRONT_DOOR / version
    if not bento.is_dir():
        bento_home.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".build-", dir=bento_home))
        try:
            _run({
                "slug": FRONT_DOOR, "service": f"bentos.{FRONT_DOOR}.service:SERVICE",
                "requirements": _of_all(), "title": "All products in one process",
                "owner": "team-platform", "version": version, "source": str(_source(scratch)),
            }, scratch)  # fmt: skip
            made = scratch / bento.relative_to(bento_home)
            shutil.copyfile(SERVICE_DOCKERFILE, made / _DOCKERFILE)
            _adopt(made, bento)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return BentoRef(f"{FRONT_DOOR}:{version}", bento, "")


def _of_all() -> tuple[str, ...]:
    """What the services of all contracts need, and a gateway besides."""
    needed = [name for names in REQUIREMENTS.values() for name in names]
    return tuple(dict.fromkeys([*needed, *_GATEWAY]))


def _run_build(product: ModelProduct, artifact: Path, version: str, scratch: Path) -> None:
    request = {
        "slug": product.slug,
        "service": f"bentos.{product.contract}.service:SERVICE",
        "requirements": REQUIREMENTS.get(product.contract, ()),
        "product": product.key,
        "title": product.title,
        "owner": product.owner,
        "version": version,
        "artifact": str(artifact.resolve()),
        "source": str(_source(scratch)),
    }
    _run(request, scratch)


def _run(request: Mapping[str, Any], scratch: Path) -> None:
    """Have a child build; its BentoML home is the scratch folder."""
    # BentoML looks for uv on the path, and would install it otherwise
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        [sys.executable, "-m", "stores.bento_store"],
        input=json.dumps(request), text=True, capture_output=True, timeout=_BUILD_SECONDS,
        env=os.environ | {"BENTOML_HOME": str(scratch), "BENTOML_DO_NOT_TRACK": "1", "PATH": path},
        cwd=scratch, check=False,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr[-4000:]
        raise BentoError(f"BentoML could not build {request['slug']}:{request['version']}:\n{said}")


def _source(scratch: Path) -> Path:
    """The packages of a service, apart from everything else that lies in a checkout."""
    source = scratch / "source"
    for package in _PACKAGES:
        root = Path(__file__).parents[1] / package
        shutil.copytree(root, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    return source


def _adopt(made: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        made.rename(target)
    except OSError:
        if not target.is_dir():  # otherwise another process was faster with the same content
            raise
    sync_folder(target.parent)
    write_atomic(target.parent / "latest", target.name)  # for `bentoml serve <name>:latest`


def _digests(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in folder.rglob("*")
        if file.is_file()
    }


def _build_here(request: Mapping[str, Any]) -> None:
    """Runs in the child, whose BentoML home is the scratch folder."""
    import bentoml

    tag = f"{request['slug']}:{request['version']}"
    labels = {"product": request["slug"], "owner": request["owner"].replace(":", "-")}
    arguments = {}
    if "artifact" in request:
        with bentoml.models.create(tag, labels=labels) as model:
            shutil.copytree(request["artifact"], model.path_of(ARTIFACT))
        arguments = {"product": request["product"], "model": tag, "version": request["version"]}
    bentoml.build(
        service=request["service"],
        name=request["slug"],
        version=request["version"],
        description=f"# {request['title']}\n",
        labels=labels,
        include=[f"{package}/**" for package in _PACKAGES],
        python={
            "packages": [f"{name}=={metadata.version(name)}" for name in request["requirements"]],
            "lock_packages": False,
        },
        build_ctx=request["source"],
        args=arguments,
    )


if __name__ == "__main__":
    _build_here(json.load(sys.stdin))
