"""What the monitoring stage reads of ``<home>/traffic``: one product, one window at a time.

Every read is a Parquet scan with the product and the times pushed down, so a window costs its own
rows and not the log's. Nothing is judged here.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from models.contracts.product import ModelProduct
from stores.home import Home, MissingError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from models.contracts.learner import Matrix, Vector

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: What a window is made from; the inputs are read per version, their hash stands for them here.
COLUMNS = (
    "prediction_id", "request_id", "tenant", "model_version", "event_time", "score", "inputs_hash",
    "latency_ms", "rows", "label", "contradicted",
)  # fmt: skip
#: Rows of inputs that are in memory beside the matrix they are copied into.
BATCH = 65_536


class Window(NamedTuple):
    """Everything that happened in one window but the inputs.

    Attributes:
        predictions: ``COLUMNS``, ordered by prediction id; dbt shows a label once it may be judged.
        refusals: Requests for predictions that were not answered 2xx.
        orphans: Outcome reports without a known prediction, received in the window.
    """

    start: datetime
    end: datetime
    predictions: "pa.Table"
    refusals: "pa.Table"
    orphans: int

    def digest(self, salt: str) -> str:
        """Digest over all of it and ``salt``, whatever the order of the rows in the files."""
        import pyarrow as pa

        found = hashlib.sha256(f"{salt} {self.start} {self.end} {self.orphans}".encode())
        for table in (self.predictions, self.refusals):
            sink = pa.BufferOutputStream()
            bare = table.combine_chunks().replace_schema_metadata(None)
            with pa.ipc.new_stream(sink, bare.schema) as stream:
                stream.write_table(bare)
            found.update(memoryview(sink.getvalue()))
        return found.hexdigest()


class Traffic:
    """One product's part of the three files.

    Raises:
        MissingError: dbt has not made them yet.
    """

    def __init__(self, product: ModelProduct, home: Home) -> None:
        self._product = product
        self._predictions = _dataset(home, "predictions")
        self._refusals = _dataset(home, "refusals")
        self._orphans = _dataset(home, "orphans")

    def newest(self) -> datetime | None:
        """The newest event time in the log."""
        parts = self._microseconds(self._predictions, "event_time")
        newest = max((int(times.max()) for times in parts), default=None)
        return None if newest is None else EPOCH + timedelta(microseconds=newest)

    def windows(self, hours: float) -> list[tuple[datetime, datetime]]:
        """Start and end of every window with traffic, oldest first, aligned to 1970."""
        import numpy as np

        length = round(hours * 3.6e9)
        scans = (
            self._microseconds(self._predictions, "event_time"),
            self._microseconds(self._refusals, "answered_at"),
        )
        numbers = {n for times in chain(*scans) for n in np.unique(times // length).tolist()}
        edges = (EPOCH + timedelta(microseconds=number * length) for number in sorted(numbers))
        return [(start, start + timedelta(microseconds=length)) for start in edges]

    def window(self, start: datetime, end: datetime) -> Window:
        """Everything in ``[start, end)`` but the inputs."""
        import pyarrow.compute as pc

        rows = self._predictions.to_table(
            list(COLUMNS), filter=self._between(self._predictions, "event_time", start, end)
        )
        asked = self._between(self._refusals, "answered_at", start, end)
        refusals = self._refusals.to_table(
            ["request_id", "model_version", "status"], filter=asked & (pc.field("path") == PREDICT)
        )
        return Window(
            start,
            end,
            rows.sort_by("prediction_id"),
            refusals.sort_by("request_id"),
            self._orphans.count_rows(
                filter=self._between(self._orphans, "received_at", start, end)
            ),
        )

    def inputs(self, version: str, start: datetime, end: datetime, width: int) -> "Matrix | None":
        """Logged inputs of one version, shape (n, width) with NaN for null; None without any."""
        import numpy as np
        import pyarrow.compute as pc

        chosen = self._between(self._predictions, "event_time", start, end)
        chosen &= (pc.field("model_version") == version) & pc.field("inputs").is_valid()
        matrix = np.empty((self._predictions.count_rows(filter=chosen), width))
        filled = 0
        for part in self._matrices(chosen, width):
            matrix[filled : filled + len(part)] = part
            filled += len(part)
        return matrix[:filled] if filled else None

    def newest_rows(
        self, version: str, most: int, width: int, *, outcomes: bool
    ) -> "tuple[pa.Table, Matrix]":
        """Score, label and inputs of a version's newest rows with inputs, or with outcomes too."""
        import numpy as np
        import pyarrow.compute as pc

        chosen = (pc.field("product") == self._product.key) & pc.field("inputs").is_valid()
        chosen &= pc.field("model_version") == version
        if outcomes:
            chosen &= pc.field("label").is_valid()
        times = self._predictions.to_table(["event_time"], filter=chosen)["event_time"].to_numpy()
        if len(times) > most:
            kind = self._predictions.schema.field("event_time").type
            cut = np.partition(times, -most)[-most].astype("datetime64[us]").item()
            chosen &= pc.field("event_time") >= _scalar(cut.replace(tzinfo=UTC), kind)
        rows = self._predictions.to_table(["score", "label", "inputs"], filter=chosen)
        rows = _fitting(rows.slice(max(0, len(rows) - most)), width)
        return rows.drop_columns(["inputs"]), _matrix(rows["inputs"], width)

    def sample(
        self, version: str, between: tuple[datetime, datetime], most: int, width: int
    ) -> "tuple[Vector, Matrix]":
        """Scores and inputs of at most ``most`` random rows of one version that have inputs."""
        import numpy as np
        import pyarrow.compute as pc

        chosen = self._between(self._predictions, "event_time", *between)
        chosen &= (pc.field("model_version") == version) & pc.field("inputs").is_valid()
        rows = self._predictions.count_rows(filter=chosen)
        picks = np.arange(rows)
        if rows > most:
            picks = np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
        scanner = self._predictions.scanner(["score", "inputs"], filter=chosen)
        taken = _fitting(scanner.take(picks), width)
        return taken["score"].to_numpy().astype(np.float64), _matrix(taken["inputs"], width)

    def _matrices(self, chosen: Any, width: int) -> "Iterator[Matrix]":
        """Batches of inputs."""
        import pyarrow as pa

        batches = self._predictions.to_batches(
            columns=["inputs"], filter=chosen, batch_size=BATCH, batch_readahead=2,
            fragment_readahead=1,
        )  # fmt: skip
        for batch in batches:
            yield _matrix(_fitting(pa.Table.from_batches([batch]), width)["inputs"], width)

    def _between(self, dataset: Any, column: str, start: datetime, end: datetime) -> Any:
        """This product's rows with ``start <= column < end``."""
        import pyarrow.compute as pc

        kind = dataset.schema.field(column).type
        low, high = (_scalar(edge, kind) for edge in (start, end))
        mine = pc.field("product") == self._product.key
        return mine & (pc.field(column) >= low) & (pc.field(column) < high)

    def _microseconds(self, dataset: Any, column: str) -> "Iterator[NDArray[np.int64]]":
        """The column of this product in parts, none empty, as microseconds since 1970."""
        import pyarrow as pa
        import pyarrow.compute as pc

        kind = pa.timestamp("us", dataset.schema.field(column).type.tz)
        mine = pc.field("product") == self._product.key
        for batch in dataset.to_batches(columns=[column], filter=mine):
            if len(batch):
                yield batch.column(0).cast(kind).cast(pa.int64()).to_numpy()


#: The path a refused request for predictions has.
PREDICT = "/predict"


def newer_rows(home: Home, product: ModelProduct, as_of: datetime) -> int:
    """Rows of the feature table that became known after ``as_of``."""
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    from models.contracts.product import KNOWN_TIME

    table = ds.dataset(home.table(product.data.features))
    limit = _scalar(as_of, table.schema.field(KNOWN_TIME).type)
    return int(table.count_rows(filter=pc.field(KNOWN_TIME) > limit))


def _fitting(rows: "pa.Table", width: int) -> "pa.Table":
    """Without the rows logged under another list of columns."""
    import pyarrow.compute as pc

    return rows.filter(pc.equal(pc.list_value_length(rows["inputs"]), width))


def _matrix(lists: "pa.ChunkedArray", width: int) -> "Matrix":
    """Lists of ``width`` numbers as shape (n, width), NaN for null."""
    import numpy as np

    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in lists.chunks]
    flat = np.concatenate(chunks) if len(chunks) > 1 else (chunks or [np.empty(0)])[0]
    found: Matrix = flat.astype(np.float64, copy=False).reshape(-1, width)
    return found


def _dataset(home: Home, name: str) -> Any:
    import pyarrow.dataset as ds

    path = home.traffic / f"{name}.parquet"
    if not path.exists():
        raise MissingError(f"{path} is missing; materialise traffic/{name} first")
    return ds.dataset(path)


def _scalar(value: datetime, kind: Any) -> Any:
    """A UTC time as the column holds it: DuckDB writes both kinds of timestamp."""
    import pyarrow as pa

    return pa.scalar(value if kind.tz else value.astimezone(UTC).replace(tzinfo=None), kind)
