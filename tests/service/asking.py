"""How tests ask a service of rows. Asserts nothing."""

from __future__ import annotations

import json
from typing import Any

import httpx

JSON = {"content-type": "application/json"}
Row = dict[str, Any]


def send(client: httpx.Client, *rows: Row) -> httpx.Response:
    """Rows as JSON; NaN and infinity as the literals a careless client sends."""
    return client.post("/predict", content=json.dumps({"rows": rows}), headers=JSON)
