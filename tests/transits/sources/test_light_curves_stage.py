"""Tests of the whole stage: from a target to its files and values."""

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
from tests.transits.sources.archive import Archive, send_busy
from tests.transits.sources.conftest import Clock, StageRun, make_light_curve

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., StageRun]
FILES = [f"tess2018206045859-s000{number}-0000000025155310-0120-s_lc.fits" for number in (1, 2)]


@pytest.fixture
def listed(archive: Archive) -> list[bytes]:
    """Add two small sectors of one star."""
    contents = [make_light_curve(50, seed=number) for number in (1, 2)]
    for number, (file, content) in enumerate(zip(FILES, contents, strict=True), start=1):
        archive.list(file, content, star="25155310", number=number, other_files=[file.replace("_lc", "_tp")])
    return contents


def test_stage_publishes_files_with_values_and_detail(archive: Archive, listed: list[bytes], stage: Run) -> None:
    run = stage(name="TIC 25155310", mission="TESS")
    assert run.files == {f"light_curves/star/{file}": content for file, content in zip(FILES, listed, strict=True)}
    assert run.result.values == {
        "light_curve_files": 2,
        "light_curve_bytes": sum(map(len, listed)),
        "files_from_cache": 0,
        "mission": "TESS",
        "segments": ["S1", "S2"],
        "missing_segments": [],
        "other_missions": [],
    }
    first = run.result.detail["products"][0]
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
    json.dumps(run.result.detail, allow_nan=False)
    assert len(archive.downloads) == 2  # only light curves


def test_second_run_uses_only_the_cache(archive: Archive, listed: list[bytes], stage: Run) -> None:
    first = stage(name="TIC 25155310")
    requests = len(archive.requests)
    second = stage(name="TIC 25155310", segments=[2, 7])
    assert len(archive.requests) == requests
    assert second.files == {f"light_curves/star/{FILES[1]}": listed[1]}
    assert second.result.values["files_from_cache"] == 1
    assert second.result.values["missing_segments"] == ["7"]
    assert first.files.items() > second.files.items()


def test_outputs_are_read_only_links(archive: Archive, listed: list[bytes], stage: Run, settings: MastSettings) -> None:
    run = stage(name="TIC 25155310")
    (cached,) = settings.folder.glob(f"files/*/{FILES[0]}")
    published = run.folder / "light_curves/star" / FILES[0]
    assert published.samefile(cached)
    assert published.stat().st_mode & 0o222 == 0


@pytest.mark.parametrize("reason", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_files_are_copied_if_links_are_impossible(
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
    run = stage(name="TIC 25155310", segments=[1])
    assert run.files == {f"light_curves/star/{FILES[0]}": listed[0]}
    (cached,) = settings.folder.glob(f"files/*/{FILES[0]}")
    assert not (run.folder / "light_curves/star" / FILES[0]).samefile(cached)


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
def test_target_missing_from_mast_is_bad_input(
    payload: dict[str, Any], words: str, archive: Archive, listed: list[bytes], stage: Run
) -> None:
    with pytest.raises(BadInput, match=words):
        stage(**payload)


def test_real_files_of_each_mission_are_accepted(archive: Archive, stage: Run, large_data: Path) -> None:
    """Accept checksums of whole units without one of their data, as the missions write them."""
    folder = large_data / "lightcurves"
    tess = next(folder.glob("tess2018206045859-s0001-0000000025155310-*"))
    kepler = next(folder.glob("**/kplr006850504-2009166043257_llc.fits"))
    k2 = next(folder.glob("ktwo206103150-c03_llc.fits"))
    archive.list(tess.name, tess.read_bytes(), star="25155310")
    quarter = {"exposure": 1800.0, "number": None, "description": "Lightcurve Long Cadence (CLC) - Q1"}
    star = {"star": "kplr006850504", "project": "Kepler", "author": "Kepler"}
    archive.list(kepler.name, kepler.read_bytes(), **star, **quarter)
    archive.list(k2.name, k2.read_bytes(), star="ktwo206103150", project="K2", author="K2", exposure=1800.0, number=3)
    for name, file in (("TIC 25155310", tess), ("KIC 6850504", kepler), ("EPIC 206103150", k2)):
        run = stage(name=name)
        assert run.files == {f"light_curves/star/{file.name}": file.read_bytes()}


# stdin: a pickled stage; argv: output folder. Prints the number of files from the cache, and the imported libraries.
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


def test_child_with_a_full_cache_does_not_import_lightkurve(
    archive: Archive, listed: list[bytes], stage: Run, settings: MastSettings, tmp_path: Path
) -> None:
    """Avoid the import, which takes seconds per child."""
    stage(name="TIC 25155310")
    # The child uses the wall clock, not the test's clock.
    for note in settings.folder.glob("queries/*/*.json"):
        note.write_text(json.dumps(json.loads(note.read_text()) | {"completed_at": time.time()}))
    command = [sys.executable, "-c", CHILD, str(tmp_path / "run")]
    pickled = pickle.dumps(LightCurvesStage(settings))
    output = subprocess.run(command, input=pickled, cwd=ROOT, check=True, capture_output=True, timeout=60).stdout
    assert output.decode() == "2 []\n"


def test_child_process_reports_results_and_failures(
    archive: Archive, listed: list[bytes], settings: MastSettings, tmp_path: Path, clock: Clock
) -> None:
    """Return messages with the outputs, or with the kind of the failure."""
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
    archive.search_faults.extend([send_busy(503)] * 6)
    unreachable = reply("TIC 2")
    assert isinstance(unreachable, Failed)
    assert (unreachable.kind, unreachable.transient) == ("error", True)
    assert unreachable.message.startswith(
        "search for TIC 2 (TESS, segments 1): MAST's search is busy (HTTP 503); tried 6 times"
    )
