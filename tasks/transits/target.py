"""One star of a run, as the table of targets or the folder of light curves describes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tasks.transits.given import GivenCandidate
from tasks.transits.light_curve import Star


@dataclass(frozen=True)
class Download:
    """A file of the output folder: its relative ``path``, ``size_bytes`` and ``sha256``."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Target:
    """One star of a run.

    id        its name in a form that is safe as a file name
    name      as archives know it: ``TIC 25155310``, ``K2-3``
    mission   ``TESS``, ``Kepler``, ``K2``, or empty if neither the table nor the name states it
    segments  the requested sectors, quarters or campaigns; empty for all
    star      stellar parameters from the table
    label     the table's ``label`` as text; None if the rows give candidates, each with a label of its own
    fields    the table's other columns, as JSON values; if there are several rows, those that are equal in all
    candidates  the rows that give a candidate, in their order
    files     absolute paths of its light curves, sorted; empty for the source ``mast``, or if the folder has none
    where     its row for messages, or the first of its files
    paths     the same files relative to the folder
    downloads files fetched from the archive instead: paths relative to the output folder, with size and digest
    types     Arrow's types of the columns of a Parquet table, for the table of results
    refusal   the reason if a scan of the folder rejects one of the files, else empty
    """

    id: str
    name: str
    mission: str = ""
    segments: tuple[int, ...] = ()
    star: Star = field(default_factory=Star)
    label: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    candidates: tuple[GivenCandidate, ...] = ()
    files: tuple[str, ...] = ()
    where: str = field(default="", compare=False)
    paths: tuple[str, ...] = field(default=(), compare=False)
    refusal: str = ""
    downloads: tuple[Download, ...] = field(default=(), compare=False)
    types: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def row_fields(self) -> Mapping[str, Any]:
        """The other columns of the star's first row."""
        return self.candidates[0].fields if self.candidates else self.fields
