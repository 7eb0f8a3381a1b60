"""All products in one process, really started: routes, aliases, swaps, the rungs below, the log."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pyarrow.compute as pc
import pytest

from assets.sources import merges
from assets.sources.merges_generator import generate
from models import registry
from models.contracts.api import to_rows
from models.contracts.routing import Member, ProductRoutes, Rule
from stores import online_store
from stores.bento_store import build_front_door
from stores.gateway_store import instances, with_product, write_table
from stores.home import Home
from tests.flow.dbt_helpers import features_of
from tests.service import each
from tests.service.site import Site, draw

RISK, FILMS, TEXTS = (
    registry.get(key)
    for key in ("risk/sync_conflict", "recommendation/films", "moderation/text_toxicity")
)
FIRST, SECOND = "v20260101_000000", "v20260102_000000"
AT = f"/v1/{RISK.key}"
ACME = {"x-assay-tenant": "acme"}
SECONDS = 60


def place(site: Site, version: str, spare: bool = False) -> Member:
    """A sealed model as a bento's model folder has it, without the bento."""
    folder, _ = each.seal(site, version)
    model = site.bentos / "models" / site.product.slug / version
    model.mkdir(parents=True)
    folder.rename(model / "artifact")
    if spare:
        each.seal(site, f"{version}-simple", 9)[0].rename(model / "baseline")
    return Member(version=version, semver="", url=None, artifact=str(model / "artifact"))


class Single:
    """A front door on a free port, and the table it follows."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.sites = {one.key: Site(root, one) for one in (RISK, FILMS, TEXTS)}

    def serve(self, product: Any, *members: Member) -> int:
        """Make the first member the champion; the generation of the table."""
        rule = Rule(product=product.key, probability=0.25, threshold=0.5, items=("f001",))
        routes = ProductRoutes(
            product=product.key, champion=members[0].version, previous=None,
            members={one.version: one for one in members}, rule=rule,
        )  # fmt: skip
        return write_table(self.home, lambda table: with_product(table, routes)).generation

    def start(self) -> None:
        """Build the bento and start it."""
        ref = build_front_door(self.home.bentos, "v1")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        environment = os.environ | {
            "ASSAY_HOME": str(self.home.root), "ASSAY_PORT": str(port), "BENTOML_DO_NOT_TRACK": "1",
            "ASSAY_PUBLIC_KEY": str(self.sites[RISK.key].keys[1]), "PYTHONPATH": "",
            "BENTOML_HOME": str(self.home.bentos),
        }  # fmt: skip
        bento = Path(sys.executable).parent / "bentoml"
        with (self.home.root / "single.log").open("wb") as log:
            self.process = subprocess.Popen(
                [bento, "serve", ref.tag, "--host", "127.0.0.1", "--port", str(port)],
                env=environment, stdout=log, stderr=log, cwd=self.home.root,
                start_new_session=True,
            )  # fmt: skip
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.until(lambda: self.client.get("/readyz").status_code == 200)
        self.first_figures = self.client.get("/metrics").text

    def until(self, true: Any) -> None:
        """Wait for something, and tell what the process said when it does not come."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if true():
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
        pytest.fail((self.home.root / "single.log").read_text()[-4000:])

    def end(self) -> None:
        """Stop it."""
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Single]:
    made = Single(tmp_path_factory.mktemp("single"))
    made.serve(RISK, place(made.sites[RISK.key], FIRST))
    made.serve(FILMS, place(made.sites[FILMS.key], FIRST))
    broken = place(made.sites[TEXTS.key], FIRST, spare=True)
    Path(broken.artifact or "", "manifest.json").write_bytes(b"{}")
    made.serve(TEXTS, broken)
    try:
        made.start()
        yield made
    finally:
        made.end()


ROWS = [dict(row) for row in to_rows(RISK, draw(RISK, 2, 1), ["acme", "globex"])]
TEXT = {"rows": [{"tenant": "acme", "text": "you stupid idiot"}]}


def test_ready_is_said_when_the_models_of_the_table_are_loaded(single: Single):
    (loaded,) = re.findall(r"^assay_engines_loaded(?:\{.*\})? (.+)$", single.first_figures, re.M)
    assert float(loaded) == 2, "of three champions one is broken"


def test_every_product_answers_at_its_route_and_its_alias(single: Single):
    got = single.client.post(f"{AT}/predict", json={"rows": ROWS}).json()
    assert [one["model_version"] for one in got["predictions"]] == [FIRST] * 2
    assert got["fallback"] is None
    listed = single.client.post("/recommend", json={"user_id": "u001", "top_k": 3}, headers=ACME)
    assert len(listed.json()["recommendations"]) == 3
    signals = {name: value for name, value in ROWS[0].items() if name != "tenant"}
    who = {"domain": "acme", "user_id": 1, "entity_type": "file", "entity_id": "x"}
    told = single.client.post("/api/v2/predict/conflict/", json=who | {"signals": signals})
    assert told.json()["probability"] == got["predictions"][0]["probability"]
    assert single.client.post(f"{AT}/predict", json={"rows": [{}]}).status_code == 400
    assert single.client.get(f"{AT}/health").json()["model_version"] == FIRST
    assert 'source="single"' in single.client.get("/metrics").text


def test_what_a_conflict_request_leaves_out_is_the_newest_row_that_dbt_made(single: Single):
    events, place = generate(seed=3, rows=300), merges.schema().get_field_index("tenant")
    tenants = pc.replace_substring(events["tenant"], "aster", "acme")  # whom the model knows
    events = events.set_column(place, merges.schema().field(place), tenants)
    features = features_of(single.home.root, events, "run")
    assert online_store.build(single.home, RISK) is not None
    mine = features[features["tenant"] == "acme"].explode("entity")
    by_user, by_file = (mine.groupby(name).tail(1).iloc[0] for name in ("user", "entity"))
    wanted = {
        "entity": (by_file, {"user_id": by_user["user"], "entity_id": by_file["entity"][5:]}),
        "user": (by_user, {"user_id": by_user["user"], "entity_id": "new"}),
        "tenant": (mine.iloc[-1], {"user_id": "new", "entity_id": "new"}),
    }
    assert len({row["event_id"] for row, _ in wanted.values()}) == 3
    for level, (row, ids) in wanted.items():
        who = {"domain": "acme", "entity_type": "file", **ids}
        told = single.client.post("/api/v2/predict/conflict/", json=who)
        inputs = row[list(RISK.data.names)].to_numpy(dtype=float)[None]
        body = {"rows": [dict(one) for one in to_rows(RISK, inputs, ["acme"])]}
        same = single.client.post(f"{AT}/predict", json=body).json()["predictions"][0]
        assert told.headers["x-assay-features"] == level
        assert told.json()["probability"] == same["probability"]


def test_below_a_champion_that_cannot_be_loaded_are_the_baseline_and_the_rule(single: Single):
    at = f"/v1/{TEXTS.key}/predict"
    got = single.client.post(at, json=TEXT)
    assert got.headers["x-assay-fallback"] == got.json()["fallback"] == "baseline"
    assert got.json()["predictions"][0]["model_version"] == f"{FIRST}-baseline"
    single.serve(TEXTS, Member(version=SECOND, semver="", url=None, artifact=None))
    single.until(lambda: single.client.post(at, json=TEXT).json()["fallback"] == "rule")
    classified = single.client.post("/api/ml/classify-text", json={"text": "you"}, headers=ACME)
    assert (classified.json()["fallback"], classified.json()["model_version"]) == ("rule", "rule")


def test_a_new_champion_is_swapped_in_without_a_failure(single: Single):
    generation = single.serve(RISK, place(single.sites[RISK.key], SECOND))
    seen: list[tuple[str, str | None]] = []

    def answered_by_the_new() -> bool:
        answer = single.client.post(f"{AT}/predict", json={"rows": ROWS}).json()
        seen.append((answer["predictions"][0]["model_version"], answer["fallback"]))
        return seen[-1][0] == SECOND

    single.until(answered_by_the_new)
    assert set(seen) == {(FIRST, None), (SECOND, None)}
    single.until(lambda: [one.generation for one in instances(single.home)] == [generation])


def test_what_was_answered_is_in_one_log_per_product(single: Single):
    def logged(product: Any) -> set[str]:
        return {
            json.loads(line[line.index(b"{") :])["model_version"]
            for file in (single.home.root / "spool" / product.slug).glob("*.*")
            for line in file.read_bytes().splitlines()
            if b" prediction " in line
        }

    assert logged(RISK) == {FIRST, SECOND}
    assert logged(TEXTS) == {f"{FIRST}-baseline", "rule"}
