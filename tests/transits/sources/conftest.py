"""Shared fixtures of the tests of sources.

archive      a server that imitates MAST, initially empty
settings     settings for this server, with a separate cache
clock        a clock that advances only by waiting, and the waits
light_curve  bytes of a FITS file in the missions' format
downloads    creates the downloader, with the time of ``clock``
stage        runs the stage on a target
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from tasks.downloads.cache import Pace, SharedCache
from tasks.downloads.sessions import open_session
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult, Workspace
from tasks.transits.sources.downloads import Downloads
from tasks.transits.sources.settings import MastSettings
from tasks.transits.sources.stage import LightCurvesStage
from tests.transits.sources.archive import Archive


@dataclass
class Clock:
    """A clock that advances only by waiting; its random numbers are always one half."""

    seconds: float = 1_800_000_000.0
    waits: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.seconds += seconds

    @property
    def pace(self) -> Pace:
        return Pace(lambda: self.seconds, self.sleep, lambda: 0.5)


@dataclass(frozen=True)
class StageRun:
    """The result of a stage, its output files by path, and their folder."""

    result: StageResult
    files: dict[str, bytes]
    folder: Path


@pytest.fixture
def archive() -> Iterator[Archive]:
    fake = Archive()
    server = fake.start()
    yield fake
    fake.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def settings(archive: Archive, tmp_path: Path) -> MastSettings:
    resolver = f"{archive.url}/Santa-war/query"
    return MastSettings(tmp_path / "cache", archive.url, resolver, stall_seconds=10.0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def make_light_curve(points: int = 16_000, table: str = "TIME", seed: int = 0, note: str = "") -> bytes:
    """Return a FITS file with a table of 16 bytes per point, with CHECKSUM and without DATASUM, as the missions do."""
    rng = np.random.default_rng(seed)
    columns = [
        fits.Column(table, "D", array=1325.0 + np.arange(points) / 720),
        fits.Column("PDCSAP_FLUX", "E", array=rng.normal(1000, 1, points)),
        fits.Column("QUALITY", "J", array=np.zeros(points)),
    ]
    units = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns, name="LIGHTCURVE")])
    units[0].header["OBJECT"] = note or "TIC 25155310"
    stream = io.BytesIO()
    units.writeto(stream, checksum=True)
    return stream.getvalue()


@pytest.fixture(scope="session")
def light_curve() -> bytes:
    return make_light_curve()


@pytest.fixture
def downloads(settings: MastSettings, clock: Clock) -> Callable[..., Downloads]:
    def make(**changes: Any) -> Downloads:
        own = MastSettings(**{**vars(settings), **changes})
        assert own.cache
        cache = SharedCache(own.cache, own.connections, clock.pace)
        return Downloads(own, cache, open_session(own), clock.pace)

    return make


@pytest.fixture
def stage(settings: MastSettings, clock: Clock, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., StageRun]:
    def run(**payload: Any) -> StageRun:
        folder = tmp_path_factory.mktemp("run")
        work = Workspace(folder / "outputs", folder / "scratch", folder)
        own = LightCurvesStage(settings, pace=clock.pace)
        own.open()
        result = own.run(Item("star", payload), work)
        files = {path.relative_to(work.outputs).as_posix(): path.read_bytes() for path in work.outputs.rglob("*.*")}
        return StageRun(result, files, work.outputs)

    return run
