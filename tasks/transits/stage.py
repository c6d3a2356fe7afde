"""The stage that searches one star: from its files to its candidates with their features."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace, get_published_file
from tasks.transits.params import TransitParams
from tasks.transits.plots.gallery import describe_plot
from tasks.transits.table import GivenRow, StarFile, encode_rows
from tasks.transits.target import Target

if TYPE_CHECKING:
    from tasks.transits.analysis import StarAnalysis
    from tasks.transits.searching import SearchResult

ROWS_FOLDER = "stars"
PLOTS_FOLDER = "plots"


class StarsStage(Stage):
    """Searches one star and measures its candidates.

    The item's inputs are the star's files, or its payload has ``downloads``, files of the output folder with their
    digests. Its payload is ``{"id", "name", "mission", "segments", "star"}``, and ``candidates`` if the target list
    gives some. Outputs are ``stars/<id>.json``, the star's rows of the table, and ``plots/<id>.png`` if plots are on.
    """

    name: ClassVar[str] = "stars"
    version: ClassVar[int] = 3
    # Measured: 265 MiB once it is open, mostly numba and its compiled code; 365 for a K2 campaign with its plot.
    memory_bytes: ClassVar[int] = 640 * 2**20
    timeout_seconds: ClassVar[float] = 1800.0
    packages: ClassVar[tuple[str, ...]] = ("astropy", "wotan", "transitleastsquares", "numba", "scipy")
    params: TransitParams

    def __init__(self, params: TransitParams) -> None:
        super().__init__(params)
        self._study: Callable[[Mapping[str, Any], Sequence[Path], TransitParams], StarAnalysis]
        self._picture: Callable[..., bytes]

    def preload(self) -> None:
        """Load the compiled code and the modules that compute and draw, which takes seconds.

        Raises OSError if the cache of compiled code cannot be locked: each child needs a cache of its own then.
        """
        from tasks.transits.kernels import compile_once

        compile_once(needs_lock=True)
        self.open()

    def open(self) -> None:
        """Import the modules that compute and draw, after compiling code once per machine."""
        from tasks.transits.kernels import compile_once

        compile_once()
        from tasks.transits.analysis import analyze_star

        self._study = analyze_star
        if self.params.plots:
            from tasks.transits.plots.star import draw_star

            self._picture = draw_star

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Search the star. Raises BadInput if it has no files, or if its files hold no light curve of it."""
        files = [Path(work.input(path)) for path in item.inputs]
        files += [get_published_file(work.output_dir, path) for path in item.payload.get("downloads", ())]
        if not files:
            raise BadInput(f"no light curve of {item.payload['name']}: its target has no files")
        study = self._study(item.payload, files, self.params)
        document = encode_rows(study.rows)
        work.output(_get_rows_path(item.id)).write_bytes(document)
        detail: dict[str, Any] = {"rows_sha256": hashlib.sha256(document).hexdigest()}
        if self.params.plots and study.result is not None:
            detail |= {"picture": self._draw(item, study.result, study.search_rows, work)}
        return StageResult(values=study.get_values(), detail=detail)

    def _draw(
        self, item: Item, result: SearchResult, rows: Sequence[Mapping[str, Any]], work: Workspace
    ) -> dict[str, Any]:
        """Draw the star's plot, and return its entry for the report's gallery."""
        path = f"{PLOTS_FOLDER}/{item.id}.png"
        picture = self._picture(
            result.curve,
            result.candidates,
            rows,
            item.payload["name"],
            periodogram=result.first,
            min_sde=self.params.min_sde,
        )
        work.output(path).write_bytes(picture)
        return asdict(describe_plot(item.id, path, hashlib.sha256(picture).hexdigest(), rows))


def collect_star_files(
    targets: Sequence[Target], details: Mapping[str, Mapping[str, Any]], failures: Mapping[str, str]
) -> list[StarFile]:
    """Return the files of all stars that are done or failed, in the order of the targets.

    ``details``: of the records of finished stars, by id. ``failures``: kind and message of the others.
    """
    done = {target.id: _make_star_file(target, details.get(target.id), failures) for target in targets}
    return [file for file in done.values() if file]


def _make_star_file(target: Target, detail: Mapping[str, Any] | None, failures: Mapping[str, str]) -> StarFile | None:
    given = [GivenRow(candidate.label, candidate.fields) for candidate in target.candidates]
    file = StarFile(target.id, label=target.label, fields=target.fields, files=target.paths, given=given)
    if detail is not None:
        return replace(file, path=_get_rows_path(target.id), sha256=detail["rows_sha256"])
    if target.id in failures:
        return replace(file, failure=failures[target.id], name=target.name, mission=target.mission)
    return None


def _get_rows_path(star_id: str) -> str:
    return f"{ROWS_FOLDER}/{star_id}.json"
