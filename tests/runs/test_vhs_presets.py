"""Run vhs_presets on a small tape: contact sheet, figures, repeated runs, and invalid options."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import pytest

from tests.runs.bench import Bench
from tests.runs.test_vhs_batch import count_stage_items, create_bench, load_values, make_tape

FLOW = "flows.vhs_presets"
PRESETS = ("vhs_clean", "vhs_heavy")


@pytest.fixture(scope="module")
def comparison_run(tmp_path_factory: pytest.TempPathFactory, prefect_home: Path, prefect_api: str) -> Iterator[Bench]:
    """Compare two presets on two pieces of a noisy tape."""
    for bench in create_bench(tmp_path_factory.mktemp("compared"), prefect_home, prefect_api):
        make_tape(bench.folder, "interlaced.mkv")
        assert bench.run(*build_options(bench, ",".join(PRESETS)), flow=FLOW, small=False) == 0
        yield bench


def build_options(bench: Bench, presets: str, *more: object) -> tuple[object, ...]:
    tape = bench.folder / "interlaced.mkv"
    pieces = ("--pieces", 2, "--piece-seconds", 0.4)
    return ("--input", tape, "--output-dir", bench.output, "--presets", presets, *pieces, *more)


def read_figures(bench: Bench) -> dict[tuple[str, str], dict[str, str]]:
    """Return the rows of the table by preset and piece."""
    with (bench.output / "comparison.csv").open(encoding="utf-8", newline="") as file:
        return {(row["preset"], row["piece"]): row for row in csv.DictReader(file)}


def test_contact_sheet_has_a_column_for_the_tape_and_each_preset(comparison_run: Bench) -> None:
    contact_sheet = cv2.imread(str(comparison_run.output / "comparison.jpg"))
    height, width = contact_sheet.shape[:2]
    assert width == pytest.approx(3 * 480, abs=60)
    assert height > 4 * 300  # two rows per piece
    page = (comparison_run.output / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 1
    assert not [
        path for path in (comparison_run.output / "pieces").rglob("*") if path.suffix not in {"", ".mp4", ".json"}
    ]
    assert load_values(comparison_run, "comparison")["comparison"]["pieces"] == 4


def test_measurements_are_plausible(comparison_run: Bench) -> None:
    rows = read_figures(comparison_run)
    assert rows.keys() == {(preset, piece) for preset in ("tape", *PRESETS) for piece in "01"}
    noise = {key: float(row["noise_luma"]) for key, row in rows.items()}
    for piece in "01":
        assert noise["vhs_heavy", piece] < noise["vhs_clean", piece] < noise["tape", piece]
        assert rows["tape", piece]["cpu_ms_per_frame"] == ""
    for row in rows.values():
        assert float(row["sharpness"]) > 1
        assert 0 < float(row["megabits_per_second"]) < 50
    assert float(rows["tape", "1"]["start_seconds"]) > float(rows["tape", "0"]["start_seconds"]) > 0
    assert min(float(rows[preset, "0"]["cpu_ms_per_frame"]) for preset in PRESETS) > 0


def test_additional_preset_restores_only_its_own_pieces(comparison_run: Bench) -> None:
    assert comparison_run.run(*build_options(comparison_run, ",".join([*PRESETS, "vhs_archive"])), flow=FLOW) == 0
    assert count_stage_items(comparison_run, "diagnosis") == (0, 1, 0, 0)
    assert count_stage_items(comparison_run, "segments") == (2, 4, 0, 0)
    assert {preset for preset, _ in read_figures(comparison_run)} == {"tape", *PRESETS, "vhs_archive"}


def test_invalid_tape_fails(bench: Bench) -> None:
    (bench.folder / "interlaced.mkv").write_text("Not a video.\n")
    assert bench.run(*build_options(bench, "vhs_clean"), flow=FLOW) == 3
    assert "text file" in bench.failures["interlaced"]["message"]
    assert not (bench.output / "comparison.jpg").exists()


@pytest.mark.parametrize(
    ("presets", "options", "words"),
    [
        ("vhs_clean,vhs_lite", (), ["'vhs_lite'", "vhs_standard"]),
        ("vhs_clean,vhs_clean", (), ["vhs_clean twice"]),
        (" , ", (), ["--presets"]),
        ("vhs_clean", ("--override", "sharpen=two"), ["sharpen"]),
        ("vhs_clean", ("--preset-file", "none.toml"), ["none.toml"]),
        ("vhs_archive", ("--height", "288"), ["--height", "with fields kept"]),
    ],
)
def test_invalid_options_are_refused(
    bench: Bench, capsys: pytest.CaptureFixture[str], presets: str, options: Sequence[str], words: Sequence[str]
) -> None:
    make_tape(bench.folder, "interlaced.mkv")
    assert bench.run(*build_options(bench, presets, *options), flow=FLOW) == 2
    log = capsys.readouterr().err
    assert [word for word in words if word not in log] == [], log
    assert "Traceback" not in log


def test_missing_tape_is_an_error(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.run(*build_options(bench, "vhs_clean"), flow=FLOW) == 2
    assert "interlaced.mkv" in capsys.readouterr().err
    assert not bench.output.exists()
