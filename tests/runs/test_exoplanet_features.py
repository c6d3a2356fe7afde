"""Tests of exoplanet_features on synthetic stars: injected planets, reproducible tables, re-runs, bad curves."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from examples.demo_stars import main as write_stars
from tests.runs.bench import Bench, list_files
from tests.transits.sources.archive import Archive
from tests.transits.sources.conftest import make_light_curve

FLOW = "flows.exoplanet_features"
TABLES = ("features.parquet", "bls_tls_features.csv")
FEW = ("hot-jupiter,", "quiet,", "spotted,", "error-page,")
INJECTED_DAYS = {"hot-jupiter": [3.288], "two-planets": [4.93, 8.41], "spotted-planet": [6.27]}


@pytest.fixture(scope="session")
def demo_stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stars")
    write_stars(folder)
    return folder


@pytest.fixture
def demo(demo_stars: Path, bench: Bench) -> Path:
    """Return a copy of the demo that a test may change."""
    shutil.copytree(demo_stars, bench.folder / "demo")
    return bench.folder / "demo"


@pytest.fixture
def few(demo: Path) -> Path:
    """Reduce the demo to three stars and the damaged file."""
    lines = (demo / "targets.csv").read_text().splitlines(keepends=True)
    for line in lines[1:]:
        if not line.startswith(FEW):
            lines.remove(line)
            (demo / "stars" / f"{line.partition(',')[0]}.csv").unlink()
    (demo / "targets.csv").write_text("".join(lines))
    return demo


def build_options(bench: Bench, demo: Path, *more: object) -> tuple[object, ...]:
    given = ("--targets", demo / "targets.csv", "--light-curves", demo / "stars", "--output-dir", bench.output)
    return (*given, "--max-period", 12, *more)


def read_table(bench: Bench) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(bench.output / "features.parquet").to_pylist()
    return rows


def compute_table_digests(bench: Bench) -> list[str]:
    return [hashlib.sha256((bench.output / name).read_bytes()).hexdigest() for name in TABLES]


def list_periods(rows: list[dict[str, Any]], target: str) -> list[float]:
    return [row["period_days"] for row in rows if row["target_id"] == target]


def test_search_recovers_injected_planets(bench: Bench, demo: Path) -> None:
    assert bench.run(*build_options(bench, demo), flow=FLOW, small=False) == 3
    rows = read_table(bench)
    for target, periods in INJECTED_DAYS.items():
        assert list_periods(rows, target) == pytest.approx(periods, rel=1e-3)
        assert {row["label"] for row in rows if row["target_id"] == target} == {"planet"}
    assert [row["mask_reasons"].count("no_candidate") for row in rows if row["target_id"] == "quiet"] == [27]
    binary = next(row for row in rows if row["target_id"] == "eclipsing-binary")
    assert binary["period_days"] == pytest.approx(2.61, rel=1e-3)
    assert "secondary" in binary["false_positive_flags"].split(";")
    (failed,) = [row for row in rows if row["target_id"] == "error-page"]
    assert (failed["label"], failed["failure"].partition(":")[0]) == ("damaged", "bad_input")
    assert failed["mask_reasons"].count("=failed") == 27
    assert bench.failures["error-page"]["failure_kind"] == "bad_input"
    assert "error-page.csv" in bench.failures["error-page"]["message"]
    searched = {row["target_id"] for row in rows if not row["failure"]}
    assert {path.stem for path in (bench.output / "plots").iterdir()} == searched
    page = (bench.output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/webp") == len({row["target_id"] for row in rows if row["candidate_number"]})
    with (bench.output / "bls_tls_features.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)


def test_tables_do_not_depend_on_workers_and_order(bench: Bench, few: Path) -> None:
    assert bench.run(*build_options(bench, few, "--no-plots", "--workers", 1), flow=FLOW) == 3
    first = compute_table_digests(bench)
    shutil.rmtree(bench.output)
    spread = ("--no-plots", "--workers", 2, "--shard-size", 1, "--order", "lightest")
    assert bench.run(*build_options(bench, few, *spread), flow=FLOW) == 3
    assert compute_table_digests(bench) == first


def test_changes_run_only_the_items_that_they_affect(bench: Bench, few: Path) -> None:
    (few / "stars" / "error-page.csv").unlink()
    targets = few / "targets.csv"
    targets.write_text(targets.read_text().replace("error-page,TESS,damaged\n", ""))
    plain = build_options(bench, few, "--no-plots")
    assert bench.run(*plain, flow=FLOW) == 0
    assert bench.count_items() == (4, 0, 0, 0)
    assert bench.run(*plain, "--workers", 2, flow=FLOW) == 0
    assert bench.count_items() == (0, 4, 0, 0)
    before = compute_table_digests(bench)

    targets.write_text(targets.read_text().replace(",planet", ",confirmed"))
    assert bench.run(*plain, flow=FLOW) == 0
    assert bench.count_items() == (1, 3, 0, 0), "a changed label rewrites the table and runs no star"
    assert compute_table_digests(bench) != before

    curve = few / "stars" / "quiet.csv"
    curve.write_text(curve.read_text() + "2027.100000,1.0000000,0.0002500\n")
    assert bench.run(*plain, flow=FLOW) == 0
    assert bench.count_items() == (1, 3, 0, 0), "the star runs again; its row and the table stay the same"
    (bench.output / "stars" / "spotted.json").unlink()
    assert bench.run(*plain, flow=FLOW) == 0
    assert bench.count_items() == (1, 3, 0, 0)
    assert bench.run(*plain, "--min-sde", 99, flow=FLOW) == 0
    assert bench.count_items() == (4, 0, 0, 0)


CURVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "nan-only": lambda time: np.full_like(time, np.nan),
    "constant": np.ones_like,
    "negative": lambda time: -1.0 - 1e-3 * np.sin(time),
    "zero": np.zeros_like,
    "infinite": lambda time: np.where(time < 10, np.inf, 1.0),
    "three-points": lambda time: np.where(np.arange(len(time)) < 3, 1.0, np.nan),
    "huge": lambda time: 1e300 * (1 + 1e-3 * np.sin(time * 7)),
}


def write_curve(path: Path, flux: np.ndarray, time: np.ndarray) -> None:
    lines = [f"{2000 + day:.6f},{value:.8g}" for day, value in zip(time, flux, strict=True)]
    path.write_text("time,flux\n" + "\n".join(lines) + "\n")


def test_bad_curves_become_masked_rows_or_failures(bench: Bench) -> None:
    folder = bench.folder / "curves"
    folder.mkdir()
    time = np.arange(0, 20, 1 / 48)
    for name, flux in CURVES.items():
        write_curve(folder / f"{name}.csv", flux(time), time)
    edges = np.array([0.0, 0.02, 19.98, 20.0])
    write_curve(folder / "gap-only.csv", np.ones(4), edges)
    (folder / "empty.fits").write_bytes(b"")
    (folder / "page.fits").write_bytes(b"<html>" * 1000)
    (folder / "image.fits").write_bytes(create_image_fits())
    assert bench.run("--light-curves", folder, "--output-dir", bench.output, flow=FLOW) == 3
    rows = {row["target_id"]: row for row in read_table(bench)}
    assert set(rows) == {path.stem for path in folder.iterdir()}
    reasons = {name: row["mask_reasons"].partition("=")[2].partition(";")[0] for name, row in rows.items()}
    masked = {name: reason for name, reason in reasons.items() if reason != "failed"}
    assert set(bench.failures) | set(masked) == {path.stem for path in folder.iterdir()}
    assert set(bench.failures) & set(masked) == set()
    assert {failure["failure_kind"] for failure in bench.failures.values()} == {"bad_input"}
    assert {"empty", "page", "image", "nan-only"} <= set(bench.failures)
    assert masked["constant"] == "constant_flux"
    assert masked["three-points"] == masked["gap-only"] == "too_few_points"
    assert masked["negative"] == masked["zero"] == "nonpositive_flux"
    assert all(name in failure["message"] for name, failure in bench.failures.items())


def create_image_fits() -> bytes:
    """Return a FITS file with an image instead of a light curve."""
    import io

    from astropy.io import fits

    file = io.BytesIO()
    fits.PrimaryHDU(np.zeros((8, 8), dtype=np.float32)).writeto(file)
    return file.getvalue()


def test_all_problems_are_reported_together(bench: Bench) -> None:
    targets = bench.folder / "targets.csv"
    targets.write_text("target_id,mission,radius\nTIC 1,TESS,-3\nTIC 1,Jupiter,1\n12,,1\n")
    (bench.folder / "curves").mkdir()
    before = list_files(bench.folder)
    given = ["--targets", targets, "--light-curves", bench.folder / "curves", "--output-dir", bench.output]
    invalid = ["--no-run-bls", "--no-run-tls", "--min-period", "5", "--max-period", "2", "--detrend", "magic"]
    with bench.start_flow(*given, *invalid, flow=FLOW) as flow:
        assert flow.wait() == 2
        log = flow.log.read_text()
        flow.log.unlink()
    lines = log.splitlines()
    assert all(line.startswith("error: ") for line in lines), log
    for words in (
        "--detrend: 'magic'",
        "--run-bls, --run-tls",
        "--max-period: 2",
        "'-3'",
        "'Jupiter'",
        "no light curves",
    ):
        assert len([line for line in lines if words in line]) == 1, (words, log)
    assert list_files(bench.folder) == before


def test_dry_run_predicts_and_writes_nothing(bench: Bench, demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = list_files(bench.folder)
    assert bench.run(*build_options(bench, demo, "--dry-run"), flow=FLOW) == 0
    log = capsys.readouterr().err
    assert "7 to do" in log
    assert list_files(bench.folder) == before


def test_summary_contains_the_parameters(bench: Bench, demo: Path) -> None:
    assert bench.run(*build_options(bench, demo, "--max-items", 2, "--no-plots", "--no-run-tls"), flow=FLOW) in {0, 3}
    parameters = json.loads((bench.output / "summary.json").read_bytes())["parameters"]
    assert parameters["run_tls"] is False
    assert parameters["max_period"] == 12
    assert bench.summary["items"]["remaining"] == 5


@pytest.fixture
def archive() -> Iterator[Archive]:
    """Start a server that imitates MAST, with two sectors of one star."""
    fake = Archive()
    server = fake.start()
    for number in (1, 2):
        file = f"tess2018206045859-s000{number}-0000000025155310-0120-s_lc.fits"
        fake.list(file, make_light_curve(2000, seed=number), star="25155310", number=number)
    yield fake
    fake.released.set()
    server.shutdown()
    server.server_close()


def test_mast_source_downloads_light_curves_once(
    bench: Bench, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(bench.folder / "cache"))
    monkeypatch.setenv("HEADRACE_MAST_SERVER", archive.url)
    monkeypatch.setenv("HEADRACE_MAST_RESOLVER", f"{archive.url}/Santa-war/query")
    targets = bench.folder / "targets.csv"
    targets.write_text("target_id,sectors,note\nTIC 25155310,1-2,bright\nTIC 404404404,,lost\n")
    given = ("--targets", targets, "--source", "mast", "--output-dir", bench.output, "--no-plots", "--max-period", 5)
    assert bench.run(*given, "--retries", 0, flow=FLOW) == 3
    assert bench.failures["TIC404404404"]["failure_kind"] == "bad_input"
    assert "TIC 404404404" in bench.failures["TIC404404404"]["message"]
    row, lost = read_table(bench)
    assert (lost["target_id"], lost["note"]) == ("TIC 404404404", "lost")
    assert "TIC 404404404" in lost["failure"]
    assert (row["target_id"], row["mission"], row["note"]) == ("TIC 25155310", "TESS", "bright")
    assert len(list((bench.output / "light_curves" / "TIC25155310").iterdir())) == 2
    requests = len(archive.requests)
    assert bench.run(*given, "--keep-failed", flow=FLOW) == 3
    assert bench.count_items() == (0, 3, 1, 0)
    assert len(archive.requests) == requests, "light curves that are present cause no requests"
