"""The stage as a whole: a target goes in, its files and what is said of them come out."""

import errno
import hashlib
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import Item
from tasks.engine.running.child import run_item
from tasks.engine.running.messages import Failed, Finished, Request
from tasks.transits.sources.settings import MastSettings
from tasks.transits.sources.stage import LightCurvesStage
from tests.transits.sources.archive import Archive, busy
from tests.transits.sources.conftest import Clock, Ran, make_light_curve

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., Ran]
FILES = [f"tess2018206045859-s000{number}-0000000025155310-0120-s_lc.fits" for number in (1, 2)]


@pytest.fixture
def listed(archive: Archive) -> list[bytes]:
    """Two sectors of one star, small."""
    contents = [make_light_curve(50, seed=number) for number in (1, 2)]
    for number, (file, content) in enumerate(zip(FILES, contents, strict=True), start=1):
        archive.list(file, content, star="25155310", number=number, beside=[file.replace("_lc", "_tp")])
    return contents


def test_files_values_and_detail(archive: Archive, listed: list[bytes], stage: Run) -> None:
    ran = stage(name="TIC 25155310", mission="TESS")
    assert ran.files == {f"light_curves/star/{file}": content for file, content in zip(FILES, listed, strict=True)}
    assert ran.result.values == {
        "light_curve_files": 2,
        "light_curve_bytes": sum(map(len, listed)),
        "files_from_cache": 0,
        "mission": "TESS",
        "segments": ["S1", "S2"],
        "missing_segments": [],
        "other_missions": [],
    }
    first = ran.result.detail["products"][0]
    assert first == {
        "file": FILES[0],
        "path": f"light_curves/star/{FILES[0]}",
        "uri": f"mast:TESS/product/{FILES[0]}",
        "url": f"{archive.url}/api/v0.1/Download/file?uri=mast:TESS/product/{FILES[0]}",
        "listed_bytes": len(listed[0]),
        "size_bytes": len(listed[0]),
        "sha256": hashlib.sha256(listed[0]).hexdigest(),
        "author": "SPOC",
        "exposure_seconds": 120.0,
        "mission": "TESS",
        "segment": "S1",
        "star": "25155310",
        "distance_arcsec": 0.0,
        "from_cache": False,
    }
    json.dumps(ran.result.detail, allow_nan=False)
    assert len(archive.downloads) == 2  # of light curves alone


def test_another_run_takes_all_of_it_from_the_cache(archive: Archive, listed: list[bytes], stage: Run) -> None:
    first = stage(name="TIC 25155310")
    asked = len(archive.requests)
    second = stage(name="TIC 25155310", segments=[2, 7])
    assert len(archive.requests) == asked
    assert second.files == {f"light_curves/star/{FILES[1]}": listed[1]}
    assert second.result.values["files_from_cache"] == 1
    assert second.result.values["missing_segments"] == ["7"]
    assert first.files.items() > second.files.items()


def test_outputs_are_links_that_cannot_be_written_to(
    archive: Archive, listed: list[bytes], stage: Run, settings: MastSettings
) -> None:
    ran = stage(name="TIC 25155310")
    (cached,) = settings.folder.glob(f"files/*/{FILES[0]}")
    published = ran.folder / "light_curves/star" / FILES[0]
    assert published.samefile(cached)
    assert published.stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_links_cannot_be_made_files_are_copied(
    reason: int,
    archive: Archive,
    listed: list[bytes],
    stage: Run,
    settings: MastSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_link(*_: Any) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "link", no_link)
    ran = stage(name="TIC 25155310", segments=[1])
    assert ran.files == {f"light_curves/star/{FILES[0]}": listed[0]}
    (cached,) = settings.folder.glob(f"files/*/{FILES[0]}")
    assert not (ran.folder / "light_curves/star" / FILES[0]).samefile(cached)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (
            {"name": "TIC 1"},
            r"no light curve of TIC 1 \(TESS\) from a supported pipeline; check the number, or give the mission",
        ),
        (
            {"name": "TIC 25155310", "segments": [8], "cadence": "fast"},
            r"TIC 25155310 \(TESS, segments 8, fast cadence\)",
        ),
        ({"name": "Nobody"}, r"Nobody \(Kepler or K2 or TESS\).*; check the spelling"),
    ],
)
def test_a_target_that_mast_does_not_have(
    payload: dict[str, Any], words: str, archive: Archive, listed: list[bytes], stage: Run
) -> None:
    with pytest.raises(BadInput, match=words):
        stage(**payload)


def test_a_real_file_of_each_mission_passes(archive: Archive, stage: Run, shared_data: Path) -> None:
    """Their checksums are the missions' own: of a whole unit, without one of its data alone."""
    folder = shared_data / "lightcurves"
    tess = next(folder.glob("tess2018206045859-s0001-0000000025155310-*"))
    kepler = next(folder.glob("**/kplr006850504-2009166043257_llc.fits"))
    k2 = next(folder.glob("ktwo206103150-c03_llc.fits"))
    archive.list(tess.name, tess.read_bytes(), star="25155310")
    quarter = {"exposure": 1800.0, "number": None, "description": "Lightcurve Long Cadence (CLC) - Q1"}
    star = {"star": "kplr006850504", "project": "Kepler", "author": "Kepler"}
    archive.list(kepler.name, kepler.read_bytes(), **star, **quarter)
    archive.list(k2.name, k2.read_bytes(), star="ktwo206103150", project="K2", author="K2", exposure=1800.0, number=3)
    for name, file in (("TIC 25155310", tess), ("KIC 6850504", kepler), ("EPIC 206103150", k2)):
        ran = stage(name=name)
        assert ran.files == {f"light_curves/star/{file.name}": file.read_bytes()}


# stdin: a pickled stage; argv: where to publish. Prints how many files came, and which heavy libraries were loaded.
CHILD = """
import pickle, sys
from pathlib import Path
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Workspace

stage = pickle.load(sys.stdin.buffer)
stage.open()
folder = Path(sys.argv[1])
result = stage.run(Item("star", {"name": "TIC 25155310"}), Workspace(folder / "outputs", folder / "scratch", folder))
heavy = [name for name in ("lightkurve", "matplotlib", "prefect") if name in sys.modules]
print(result.values["files_from_cache"], heavy)
"""


def test_a_fresh_child_with_a_full_cache_loads_no_lightkurve(
    archive: Archive, listed: list[bytes], stage: Run, settings: MastSettings, tmp_path: Path
) -> None:
    """It would cost each child seconds."""
    stage(name="TIC 25155310")
    # As after the wall clock: the test's own one stands still.
    for kept in settings.folder.glob("queries/*/*.json"):
        kept.write_text(json.dumps(json.loads(kept.read_text()) | {"completed_at": time.time()}))
    command = [sys.executable, "-c", CHILD, str(tmp_path / "run")]
    pickled = pickle.dumps(LightCurvesStage(settings))
    said = subprocess.run(command, input=pickled, cwd=ROOT, check=True, capture_output=True, timeout=60).stdout
    assert said.decode() == "2 []\n"


def test_the_engine_s_child_runs_it(
    archive: Archive, listed: list[bytes], settings: MastSettings, tmp_path: Path, clock: Clock
) -> None:
    """What the engine makes of its results and of its failures."""
    stage = LightCurvesStage(settings, pace=clock.pace)
    stage.open()

    def reply(name: str) -> Any:
        item = Item("star", {"name": name, "mission": "TESS", "segments": [1]})
        return run_item(stage, Request(item, tmp_path / name.replace(" ", ""), tmp_path / "out"))

    done = reply("TIC 25155310")
    assert isinstance(done, Finished)
    assert [(output.path, output.size_bytes) for output in done.outputs] == [
        (f"light_curves/star/{FILES[0]}", len(listed[0]))
    ]
    unknown = reply("TIC 1")
    assert isinstance(unknown, Failed)
    assert (unknown.kind, unknown.transient) == ("bad_input", False)
    archive.search_faults.extend([busy(503)] * 6)
    away = reply("TIC 2")
    assert isinstance(away, Failed)
    assert (away.kind, away.transient) == ("error", True)
    assert away.message.startswith(
        "search for TIC 2 (TESS, segments 1): MAST's search is busy (HTTP 503); tried 6 times"
    )
