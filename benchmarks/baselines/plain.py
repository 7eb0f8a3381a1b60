"""What a tutorial writes: FastAPI, a plain function, transformers, uvicorn as it comes.

    BASELINE_FOLDER=... uvicorn benchmarks.baselines.plain:app --port 8000

FastAPI runs a plain function on one of 40 threads, and torch computes each call on every core.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from fastapi import FastAPI
from pydantic import BaseModel
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from benchmarks.baselines.prepared import FOLDER

folder = Path(os.environ[FOLDER])
described = json.loads((folder / "head.json").read_text())
tokenizer = AutoTokenizer.from_pretrained(folder)
encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
head = torch.nn.Linear(encoder.config.hidden_size, len(described["labels"]))
head.load_state_dict(load_file(folder / "head.safetensors"))

app = FastAPI()


class Row(BaseModel):
    """One text."""

    tenant: str
    text: str


class Request(BaseModel):
    """Some texts."""

    rows: list[Row]


@app.post("/predict")
def predict(request: Request) -> dict:
    """Probability of every label for every text."""
    inputs = tokenizer(
        [row.text for row in request.rows],
        padding=True,
        truncation=True,
        max_length=described["max_length"],
        return_tensors="pt",
    )
    with torch.no_grad():
        states = encoder(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        pooled = (states * mask).sum(dim=1) / mask.sum(dim=1)
        scores = torch.sigmoid(head(pooled))
    return {
        "predictions": [
            {
                "labels": dict(zip(described["labels"], row, strict=True)),
                "model_version": "plain",
            }
            for row in scores.tolist()
        ]
    }
