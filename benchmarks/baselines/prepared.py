"""Writes a fitted classifier as others keep theirs: a Hugging Face folder, and its INT8 graph.

    encoder and tokenizer   as ``AutoModel`` and ``AutoTokenizer`` load them
    head.safetensors        weight (L, hidden) and bias (L,) of the linear head over the mean
    head.json               the L labels, and the tokens kept of a text
    int8.onnx               ids and mask to L log-odds, dynamic INT8 of ONNX Runtime
    tokenizer.json          alone, for ``tokenizers``

The same weights as our service has: what differs is only how they are served.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

#: Names the folder to a baseline's process.
FOLDER = "BASELINE_FOLDER"
#: Says how many threads compute in one of its workers.
THREADS = "BASELINE_THREADS"


def prepare(predictor: Any, folder: Path) -> None:
    """Write a fitted `models.core.text.predictor.NetworkText` over a mean-pooled encoder of torch.

    Raises:
        ValueError: It is pooled otherwise, which the baselines do not do.
    """
    from safetensors.torch import save_file
    from transformers import PreTrainedTokenizerFast

    from models.core.text import onnx_export

    module, encoding = predictor.network.module, predictor.encoding
    if module.embedder.pooling != "mean":
        raise ValueError("the baselines pool by the mean: fit the model so")
    folder.mkdir(parents=True, exist_ok=True)
    module.encoder.save_pretrained(folder)
    pad = encoding.tokenizer.id_to_token(encoding.pad)
    PreTrainedTokenizerFast(
        tokenizer_object=encoding.tokenizer, pad_token=pad, model_max_length=encoding.max_length
    ).save_pretrained(folder)
    encoding.save(folder)
    head = {name: value.contiguous() for name, value in module.head.state_dict().items()}
    save_file(head, folder / "head.safetensors")
    labels = [predictor.labels[number] for number in predictor.answered]
    described = {"labels": labels, "max_length": encoding.max_length, "pad": encoding.pad}
    (folder / "head.json").write_text(json.dumps(described))
    graph = onnx_export.dynamic_int8(onnx_export.graph_of(module))
    (folder / "int8.onnx").write_bytes(graph)
