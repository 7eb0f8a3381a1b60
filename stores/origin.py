"""Where raw data comes from: the mirror, a public address, or the generator. One setting decides.

Knows no source in particular; a source says what its mirror file is and how to generate rows.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from models.contracts.base import Frozen

if TYPE_CHECKING:
    import pyarrow as pa

#: Tag on a raw asset's materialisation: what was fetched (``Origin.version``).
ORIGIN_VERSION = "assay/origin_version"

Kind = Literal["mirror", "public", "generator"]


class OriginError(Exception):
    """The chosen origin cannot be read; the message names the setting to change."""


class Source(NamedTuple):
    """One raw source.

    Attributes:
        name: Asset ``raw/<name>`` and the folder of its files.
        description: Shown in the UI.
        file: Path below the mirror or the public address.
        sha256: Pinned digest of that file.
        schema: Function that gives the schema every landed file must have.
        convert: Mirror file to a table of that schema.
        generate: ``(seed, rows)`` to a table of that schema.
    """

    name: str
    description: str
    owner: str
    file: str
    sha256: str
    schema: Callable[[], pa.Schema]
    convert: Callable[[Path], pa.Table]
    generate: Callable[[int, int], pa.Table]


class Origin(Frozen):
    """The setting. ``kind`` None means: the mirror when it is set, else the generator."""

    kind: Kind | None = None
    mirror: Path | None = None
    public_url: str | None = None
    seed: int = 0
    rows: int = 12_000

    def chosen(self) -> Kind:
        """What ``fetch`` will use."""
        return self.kind or ("mirror" if self.mirror else "generator")

    def version(self, source: Source) -> str:
        """Name of what ``fetch`` returns, known without reading it."""
        kind = self.chosen()
        if kind == "generator":
            return f"generator-seed{self.seed}-rows{self.rows}"
        return f"{kind}-{source.sha256[:16]}"

    def fetch(self, source: Source, cache: Path) -> pa.Table:
        """The source's table, verified against its pinned digest.

        Raises:
            OriginError: The file is missing or is not the pinned one.
        """
        kind = self.chosen()
        if kind == "generator":
            return source.generate(self.seed, self.rows)
        return source.convert(
            self._mirror_file(source) if kind == "mirror" else self._public_file(source, cache)
        )

    def _mirror_file(self, source: Source) -> Path:
        from stores.files import sha256

        if self.mirror is None:
            raise OriginError("ASSAY_ORIGIN=mirror needs ASSAY_MIRROR=<folder of the mirror>")
        path = self.mirror / source.file
        if not path.is_file():
            raise OriginError(
                f"{path} is missing; set ASSAY_MIRROR to the folder that holds it, "
                "or ASSAY_ORIGIN=generator"
            )
        if (found := sha256(path)) != source.sha256:
            raise OriginError(
                f"{path} has sha256 {found}, expected {source.sha256}; fetch the mirror again"
            )
        return path

    def _public_file(self, source: Source, cache: Path) -> Path:
        from stores.download import fetch_public

        if self.public_url is None:
            raise OriginError("ASSAY_ORIGIN=public needs ASSAY_PUBLIC_URL=<address of the mirror>")
        return fetch_public(self.public_url, source.file, source.sha256, cache)
