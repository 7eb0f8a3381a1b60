"""Where raw data comes from: the mirror, a public address, or the generator. One setting decides.

Knows no source in particular; a source says what its mirror files are and how to generate rows.
"""

from __future__ import annotations

import hashlib
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


class PinnedFile(NamedTuple):
    """One file of a source.

    Attributes:
        path: Path below the mirror or the public address; a whole address in `Source.published`.
        sha256: Its pinned digest.
    """

    path: str
    sha256: str


class Source(NamedTuple):
    """One raw source.

    Attributes:
        name: Asset ``raw/<name>`` and the folder of its files.
        description: Shown in the UI.
        files: What the mirror or the public address holds of it; at least one.
        schema: Function that gives the schema every landed file must have.
        convert: The local files, as arguments in the order of ``files``, to a table of that schema.
        generate: ``(seed, rows)`` to a table of that schema.
        published: Where its owner publishes it: the same data at whole addresses, in files that
            ``convert`` reads as well. Then the public origin reads these, for data that may not
            be passed on.
    """

    name: str
    description: str
    owner: str
    files: tuple[PinnedFile, ...]
    schema: Callable[[], pa.Schema]
    convert: Callable[..., pa.Table]
    generate: Callable[[int, int], pa.Table]
    published: tuple[PinnedFile, ...] = ()


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
        return f"{kind}-{_digest(self._files(source))[:16]}"

    def fetch(self, source: Source, cache: Path) -> pa.Table:
        """The source's table, every file verified against its pinned digest.

        Raises:
            OriginError: A file is missing or is not the pinned one.
        """
        kind = self.chosen()
        if kind == "generator":
            return source.generate(self.seed, self.rows)
        if kind == "mirror":
            return source.convert(*(self._mirror_file(file) for file in source.files))
        return source.convert(*(self._public_file(file, cache) for file in self._files(source)))

    def _files(self, source: Source) -> tuple[PinnedFile, ...]:
        public = self.chosen() == "public"
        return source.published if public and source.published else source.files

    def _mirror_file(self, file: PinnedFile) -> Path:
        from stores.files import sha256

        if self.mirror is None:
            raise OriginError("ASSAY_ORIGIN=mirror needs ASSAY_MIRROR=<folder of the mirror>")
        path = self.mirror / file.path
        if not path.is_file():
            raise OriginError(
                f"{path} is missing; set ASSAY_MIRROR to the folder that holds it, "
                "or ASSAY_ORIGIN=generator"
            )
        if (found := sha256(path)) != file.sha256:
            raise OriginError(
                f"{path} has sha256 {found}, expected {file.sha256}; fetch the mirror again"
            )
        return path

    def _public_file(self, file: PinnedFile, cache: Path) -> Path:
        from stores.download import fetch_public

        if "://" in file.path:
            folder, _, name = file.path.rpartition("/")
            return fetch_public(folder, name, file.sha256, cache)
        if self.public_url is None:
            raise OriginError("ASSAY_ORIGIN=public needs ASSAY_PUBLIC_URL=<address of the mirror>")
        return fetch_public(self.public_url, file.path, file.sha256, cache)


def _digest(files: tuple[PinnedFile, ...]) -> str:
    """Names the content of all files: the digest of one, else the digest of the digests."""
    first, *others = (file.sha256 for file in files)
    return hashlib.sha256("".join((first, *others)).encode()).hexdigest() if others else first
