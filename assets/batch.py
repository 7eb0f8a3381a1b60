"""``<domain>/<product>/batch``: files of rows, answered by the released model, without a service.

The same engine answers as in a service, so every contract has it and no row is judged otherwise.
Which file was answered is ``stores.batch``'s affair. Batch answers are no traffic: they are in no
prediction log and monitoring does not see them.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import dagster as dg

from assets.stages.bento import current_release
from assets.stages.common import stage_asset, stage_key, table
from models.contracts.product import ModelProduct
from models.core.signing import ensure_keypair
from models.registry import load_learner
from stores import batch
from stores.batch import BatchError, Report, Row, Said
from stores.home import Home


class Answerer:
    """Answers rows as the service of a release would, one by one refused where they are wrong.

    Args:
        product: The product.
        folder: Sealed artifact.
        version: Of the release.
        public_key: The artifact must verify against it.
    """

    def __init__(self, product: ModelProduct, folder: Path, version: str, public_key: Path) -> None:
        from bentos.loading import ENGINES
        from bentos.runtime import Runtime
        from gateway.openapi_routes import request_type
        from models.core import artifact

        candidate, predictor = artifact.load(folder, public_key, load_learner(product))
        module, _, name = ENGINES[product.contract].partition(":")
        self._engine = getattr(import_module(module), name)(
            Runtime(product, candidate, predictor, version)
        )
        self._request = request_type(product.key)
        (self._row,) = get_args(self._request.model_fields["rows"].annotation)

    @property
    def strings(self) -> frozenset[str]:
        """Fields of a row that are text."""
        fields = self._row.model_json_schema()["properties"]
        return frozenset(n for n, schema in fields.items() if '"string"' in json.dumps(schema))

    def __call__(self, rows: Sequence[Row]) -> list[Said]:
        """What is said of each row."""
        checked = [self._checked(row) for row in rows]
        good = [(n, one) for n, one in enumerate(checked) if not isinstance(one, str)]
        said = [Said(error=one) if isinstance(one, str) else Said() for one in checked]
        found = asyncio.run(self._answers([one for _, one in good]))
        for (number, _), one in zip(good, found, strict=True):
            said[number] = one
        return said

    def close(self) -> None:
        """End the engine's threads."""
        self._engine.close()

    def _checked(self, row: Row) -> Any:
        """The validated row, or what is wrong with it."""
        from pydantic import ValidationError

        fields = self._row.model_fields
        told = {  # a table has a cell for every row: an empty one is the default
            name: value
            for name, value in row.items()
            if value is not None or (name in fields and fields[name].is_required())
        }
        try:
            return self._row.model_validate_json(json.dumps(told, default=batch.as_json))
        except ValidationError as error:
            places = (".".join(map(str, one["loc"])) + ": " + one["msg"] for one in error.errors())
            return "; ".join(places)

    async def _answers(self, rows: Sequence[Any]) -> list[Said]:
        """Ask for all; where the model refuses, halve until only the rows at fault are refused."""
        from gateway.asked import Asked
        from gateway.ports import Wrong

        if not rows:
            return []
        request = self._request.model_construct(rows=list(rows))
        asked = Asked("batch", 0, "golden")  # never sent away, never from a cache
        try:
            done = await self._engine.answer(request, asked)
        except Wrong as refusal:
            if len(rows) == 1:
                told = [f"{one['loc'][-1]}: {one['msg']}" for one in refusal.body.get("detail", ())]
                return [Said(error="; ".join(told) or str(refusal))]
            half = len(rows) // 2
            return [*await self._answers(rows[:half]), *await self._answers(rows[half:])]
        return [Said(one.model_dump(mode="json")) for one in done.predictions]


def answer_waiting(
    product: ModelProduct, home: Home, say: Callable[[str], object]
) -> tuple[list[Report], list[str]]:
    """Answer every file that waits; reports, and what is wrong with files that were not.

    Raises:
        MissingError: There is no release yet.
    """
    place = batch.folder(home, product)
    files, reports, problems = batch.waiting(place), [], []
    if not files:
        return [], []
    release, (_, public_key) = current_release(product, home), ensure_keypair(home.keys)
    made = Answerer(product, home.root / release.artifact, release.version, public_key)
    with closing(made) as answer:
        for file in files:
            try:
                reports.append(batch.process(file, release.version, answer.strings, answer, say))
            except BatchError as error:
                problems.append(str(error))
    return reports, problems


def build(product: ModelProduct) -> dg.AssetsDefinition:
    """The batch asset with its ``readable`` check."""
    key = stage_key(product, "batch")

    @stage_asset(
        product,
        "batch",
        after=stage_key(product, "bento"),
        modules=(__name__, f"bentos.{product.contract}.engine"),
        salt=product.serving.model_dump_json(),
        kinds={"parquet"},
        checks={"readable": "Could every file that waited be read?"},
        blocking=False,
    )
    def answered(context: dg.AssetExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[Any]:
        """Answers of the released model to the files in <home>/batch/<slug>/in, each once."""
        reports, problems = answer_waiting(product, home, context.log.info)
        yield dg.AssetCheckResult(
            asset_key=key,
            check_name="readable",
            passed=not problems,
            description="; ".join(problems) or f"{len(reports)} files answered",
        )
        yield dg.MaterializeResult(
            asset_key=key,
            metadata={
                "dagster/row_count": sum(one.rows - one.bad for one in reports),
                "bad_rows": sum(one.bad for one in reports),
                "files": table([one.model_dump(mode="json") for one in reports]),
                "path": dg.MetadataValue.path(str(batch.folder(home, product) / "out")),
            },
        )

    return answered
