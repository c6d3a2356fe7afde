"""The stage of exoplanet_features: the files of one star in, its candidates with their features out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tasks.transits.params import TransitParams
from tasks.transits.pictures.gallery import drawn
from tasks.transits.table import StarFile, star_document
from tasks.transits.targets import Target

if TYPE_CHECKING:
    from tasks.transits.searching import SearchResult
    from tasks.transits.study import Study

ROWS_FOLDER = "stars"
PICTURES_FOLDER = "plots"


class StarsStage(Stage):
    """Searches one star and measures what it finds.

    The item's inputs are the star's files; its payload is ``{"id", "name", "mission", "segments", "star"}``. Published
    are ``stars/<id>.json``, the star's rows of the table, and ``plots/<id>.png`` where pictures are wanted.
    """

    name: ClassVar[str] = "stars"
    version: ClassVar[int] = 2
    # Measured: 265 MiB once it is open, mostly numba and what it compiled; 365 for a K2 campaign with its picture.
    memory_bytes: ClassVar[int] = 640 * 2**20
    timeout_seconds: ClassVar[float] = 1800.0
    packages: ClassVar[tuple[str, ...]] = ("astropy", "wotan", "transitleastsquares", "numba", "scipy")
    params: TransitParams

    def __init__(self, params: TransitParams) -> None:
        super().__init__(params)
        self._study: Callable[[Mapping[str, Any], Sequence[Path], TransitParams], Study]
        self._picture: Callable[..., bytes]

    def open(self) -> None:
        """Import what computes and draws, which takes seconds, and compile what is compiled, once a machine."""
        from tasks.transits.kernels import compile_once

        compile_once()
        from tasks.transits.study import study

        self._study = study
        if self.params.plots:
            from tasks.transits.pictures.star import star_picture

            self._picture = star_picture

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Search the star. Raises BadInput where it has no files, or files that hold no light curve of it."""
        if not item.inputs:
            raise BadInput(f"no light curve of {item.payload['name']}: its target has no files")
        study = self._study(item.payload, [Path(work.input(path)) for path in item.inputs], self.params)
        document = star_document(study.rows)
        work.output(_rows_path(item.id)).write_bytes(document)
        detail: dict[str, Any] = {"rows_sha256": hashlib.sha256(document).hexdigest()}
        if self.params.plots and study.result is not None:
            detail |= {"picture": self._draw(item, study.result, study.rows, work)}
        return StageResult(values=study.values(), detail=detail)

    def _draw(
        self, item: Item, found: SearchResult, rows: Sequence[Mapping[str, Any]], work: Workspace
    ) -> dict[str, Any]:
        """Draw the star's picture; what the report's gallery has to know of it."""
        path = f"{PICTURES_FOLDER}/{item.id}.png"
        picture = self._picture(
            found.curve,
            found.candidates,
            rows,
            item.payload["name"],
            periodogram=found.first,
            min_sde=self.params.min_sde,
        )
        work.output(path).write_bytes(picture)
        return asdict(drawn(item.id, path, hashlib.sha256(picture).hexdigest(), rows))


def star_files(targets: Sequence[Target], details: Mapping[str, Mapping[str, Any]]) -> list[StarFile]:
    """What the stars that are done have published, in the targets' order. ``details``: of their records, by id."""
    return [
        StarFile(
            target.id,
            _rows_path(target.id),
            details[target.id]["rows_sha256"],
            target.label,
            target.fields,
            target.paths,
        )
        for target in targets
        if target.id in details
    ]


def _rows_path(star_id: str) -> str:
    return f"{ROWS_FOLDER}/{star_id}.json"
