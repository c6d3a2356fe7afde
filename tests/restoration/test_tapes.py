"""Test the tapes of a folder, and the settings table."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.engine.contract.items import is_safe_id
from tasks.restoration.diagnosis_stage import list_diagnosis_items
from tasks.restoration.options import TapeOptions
from tasks.restoration.tapes import Tape, read_tapes

PRESETS = ("vhs_standard", "vhs_heavy")
COMMON = TapeOptions(height=720)


@pytest.fixture
def tape_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tapes"
    (folder / "1991").mkdir(parents=True)
    for name in ("tape2.avi", "tape10.mp4", "1991/wedding.mpg", "notes.txt", ".hidden.mp4"):
        (folder / name).write_bytes(b"x")
    return folder


def write_table(folder: Path, text: str) -> Path:
    path = folder.parent / "per_tape.csv"
    path.write_text(text)
    return path


def list_problems(tape_folder: Path, text: str) -> list[str]:
    return [str(problem) for problem in read_tapes(tape_folder, write_table(tape_folder, text), COMMON, PRESETS)[1]]


def test_videos_are_in_natural_order(tape_folder: Path) -> None:
    tapes, problems = read_tapes(tape_folder, None, COMMON, PRESETS)
    assert problems == []
    assert [tape.path for tape in tapes] == ["1991/wedding.mpg", "tape2.avi", "tape10.mp4"]
    assert tapes[1] == Tape("tape2", "tape2.avi", COMMON)
    assert tapes[0].id.startswith("1991-wedding")


def test_line_of_a_tape_overrides_common_options(tape_folder: Path) -> None:
    settings = write_table(tape_folder, "tape,preset,height,crf,shelf\ntape2.avi,vhs_heavy,,18,B4\n")
    tapes, problems = read_tapes(tape_folder, settings, COMMON, PRESETS)
    assert problems == []
    own = next(tape for tape in tapes if tape.id == "tape2")
    assert own.options == TapeOptions(preset="vhs_heavy", height=720, crf=18)
    assert own.fields == {"shelf": "B4"}
    assert all(tape.options == COMMON for tape in tapes if tape.id != "tape2")


def test_all_problems_of_a_table_are_reported_together(tape_folder: Path) -> None:
    lines = list_problems(
        tape_folder,
        "tape,preset,height,codec\ntape2.avi,vhs_hevy,721,x266\ntape2.avi,,,\nwedding,,,\n,vhs_heavy,,\n",
    )
    text = "\n".join(lines)
    for words in ("height: '721'", "codec: 'x266'", "again, as in per_tape.csv line 2", "line 5, tape: nothing"):
        assert words in text
    assert "did you mean 1991/wedding.mpg?" in text
    assert len(lines) == 5


def test_unknown_preset_is_reported_once(tape_folder: Path) -> None:
    _, problems = read_tapes(tape_folder, None, TapeOptions(preset="vhs"), PRESETS)
    assert [str(problem) for problem in problems] == [
        "--preset: 'vhs'; allowed: vhs_standard, vhs_heavy; name one of these"
    ]


@pytest.mark.parametrize("content", ["", "tape;preset\n", "preset\nvhs_heavy\n", "\xff\xfe\x00"])
def test_broken_table_is_named(tape_folder: Path, content: str) -> None:
    path = tape_folder.parent / "per_tape.csv"
    path.write_bytes(content.encode("latin-1"))
    tapes, problems = read_tapes(tape_folder, path, COMMON, PRESETS)
    assert problems
    assert all("per_tape.csv" in str(problem) for problem in problems)
    assert len(tapes) == 3


def test_folder_without_videos_is_a_problem(tmp_path: Path) -> None:
    assert "no videos" in str(read_tapes(tmp_path, None, COMMON, PRESETS)[1][0])
    assert "does not exist" in str(read_tapes(tmp_path / "gone", None, COMMON, PRESETS)[1][0])


def test_symlink_out_of_the_folder_is_refused(tape_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "private.mp4").write_bytes(b"x")
    (tape_folder / "linked.mp4").symlink_to(tmp_path / "private.mp4")
    tapes, problems = read_tapes(tape_folder, None, COMMON, PRESETS)
    assert ["points outside" in str(problem) for problem in problems] == [True]
    assert "linked" not in {tape.id for tape in tapes}


def test_similar_names_get_distinct_ids(tmp_path: Path) -> None:
    names = ["SAME.mp4", "same.mp4", "a b.mp4", "ab.mp4", "a.mkv", "a.mp4", "中文.mp4", "nul.mp4", "b/a.mp4"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    tapes, problems = read_tapes(tmp_path, None, COMMON, PRESETS)
    assert problems == []
    assert {tape.path for tape in tapes} == set(names)
    assert len({tape.id.lower() for tape in tapes}) == len(names)
    assert all(is_safe_id(tape.id) for tape in tapes)
    assert {item.path: item.name for item in list_diagnosis_items(tapes, tmp_path)} == {
        name: name.rpartition("/")[2] for name in names
    }
