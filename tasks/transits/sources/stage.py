"""The stage that fetches the light curve files of one target."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tasks.downloads.cache import Pace, SharedCache
from tasks.downloads.sessions import open_session
from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Lane, Stage, StageResult, Value, Workspace
from tasks.transits.sources.downloads import CachedFile, Downloads
from tasks.transits.sources.products import Choice, Product, Query, convert_to_json, read_query
from tasks.transits.sources.queries import Queries
from tasks.transits.sources.settings import MastSettings

# Errors of links: another filesystem, too many links, no support, or a file of another user.
_NO_LINK = {errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS}


class LightCurvesParams(BaseModel):
    """Empty parameters: only the target, which is the item's payload, determines the files."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class LightCurvesStage(Stage):
    """Fetches the light curves of one target from MAST, through the cache that runs share.

    The item has no inputs; :func:`~tasks.transits.sources.products.read_query` reads its payload. Files are published
    as ``light_curves/<item id>/<file>``: links into the cache, or copies if the cache is on another filesystem.
    """

    name: ClassVar[str] = "light_curves"
    version: ClassVar[int] = 1
    lane: ClassVar[Lane] = "io"
    memory_bytes: ClassVar[int] = 384 * 2**20
    timeout_seconds: ClassVar[float] = 1800.0
    max_failing: ClassVar[int | None] = 5  # targets in a row: then the archive or the network is down
    packages: ClassVar[tuple[str, ...]] = ("lightkurve", "astroquery", "astropy", "requests")
    params: LightCurvesParams

    def __init__(
        self, settings: MastSettings, params: LightCurvesParams | None = None, pace: Pace | None = None
    ) -> None:
        super().__init__(params or LightCurvesParams())
        self._settings = settings
        self._pace = pace  # the default is made in each child: a pickled one would repeat its random numbers
        self._queries: Queries
        self._downloads: Downloads

    def open(self) -> None:
        """Open a session. The first search that the cache cannot answer imports lightkurve."""
        pace = self._pace or Pace()
        cache = SharedCache(self._settings.folder, self._settings.connections, pace)
        session = open_session(self._settings)
        self._queries = Queries(self._settings, cache, session, pace)
        self._downloads = Downloads(self._settings, cache, session, pace)

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Publish the target's files.

        Raises BadInput if MAST has no intact light curve, TransientError if MAST is unreachable now.
        """
        query = read_query(item.payload)
        choice = self._queries.ask(query)
        if not choice.products:
            raise BadInput(_describe_missing(query))
        files = [self._downloads.fetch(product) for product in choice.products]
        rows = [
            _publish(product, file, f"light_curves/{item.id}/{product.file}", work)
            for product, file in zip(choice.products, files, strict=True)
        ]
        return StageResult(_get_values(choice, files), {"query": asdict(query), "products": rows})


def _describe_missing(query: Query) -> str:
    if query.exact:
        advice = "check the number, or give the mission that observed it"
    else:
        advice = "check the spelling and the mission, or give its TIC, KIC or EPIC number"
    return f"MAST has no light curve of {query} from a supported pipeline; {advice}"


def _publish(product: Product, file: CachedFile, relative: str, work: Workspace) -> dict[str, Any]:
    """Publish the file, and return its entry for the record."""
    _link(file.path, work.output(relative))
    location = {"path": relative, "url": file.url, "size_bytes": file.size_bytes, "sha256": file.sha256}
    return {**convert_to_json(product), **location, "from_cache": file.from_cache}


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copyfile(source, target)


def _get_values(choice: Choice, files: Sequence[CachedFile]) -> dict[str, Value]:
    return {
        "light_curve_files": len(files),
        "light_curve_bytes": sum(file.size_bytes for file in files),
        "files_from_cache": sum(file.from_cache for file in files),
        "mission": choice.products[0].mission,
        "segments": list(dict.fromkeys(product.segment for product in choice.products)),
        "missing_segments": [str(number) for number in choice.missing],
        "other_missions": [str(mission) for mission in choice.other_missions],
    }
