r"""What somebody who knows writes: an async endpoint, dynamic INT8, orjson, uvloop, no access log.

    BASELINE_FOLDER=... BASELINE_THREADS=2 uvicorn benchmarks.baselines.expert:app --port 8000 \
        --workers 1 --loop uvloop --http httptools --no-access-log

A request's texts are one batch; each thread computes on one core, so that none waits for another.
"""

from __future__ import annotations

import asyncio
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import orjson
from fastapi import FastAPI, Response
from pydantic import BaseModel
from tokenizers import Tokenizer

from benchmarks.baselines.prepared import FOLDER, THREADS

os.environ["TOKENIZERS_PARALLELISM"] = "false"
folder = Path(os.environ[FOLDER])
described = json.loads((folder / "head.json").read_text())
labels = described["labels"]
tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
tokenizer.enable_truncation(described["max_length"])
tokenizer.enable_padding(pad_id=described["pad"])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    folder / "int8.onnx", options, providers=["CPUExecutionProvider"]
)
threads = ThreadPoolExecutor(int(os.environ.get(THREADS, "2")))

app = FastAPI()


class Row(BaseModel):
    """One text."""

    tenant: str
    text: str


class Request(BaseModel):
    """Some texts."""

    rows: list[Row]


@app.post("/predict")
async def predict(request: Request) -> Response:
    """Probability of every label for every text."""
    texts = [row.text for row in request.rows]
    loop = asyncio.get_running_loop()
    scores = await loop.run_in_executor(threads, answer, texts)
    predictions = [
        {"labels": dict(zip(labels, row, strict=True)), "model_version": "expert"}
        for row in scores.tolist()
    ]
    body = orjson.dumps({"predictions": predictions})
    return Response(body, media_type="application/json")


def answer(texts: list[str]) -> np.ndarray:
    """Probabilities of shape (n, L)."""
    encoded = tokenizer.encode_batch(texts)
    ids = np.array([one.ids for one in encoded], np.int64)
    mask = np.array([one.attention_mask for one in encoded], np.int64)
    (logits,) = session.run(None, {"ids": ids, "mask": mask})
    return 1.0 / (1.0 + np.exp(-logits))
