"""The scan of input folders: files that are read, and counts of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.engine.contract.manifest import InputFolder
from tasks.media.kinds import get_suffix, is_light_curve, is_video
from tasks.media.scan import MAX_LEVELS, scan_videos


def scan(folder: Path) -> tuple[dict[str, str], list[str], list[str]]:
    """Return refusals by path, problems and notes."""
    notes: list[str] = []
    files, problems = scan_videos(InputFolder(folder, "--input"), notes)
    return {path: file.refusal for path, file in files.items()}, list(map(str, problems)), notes


def touch(folder: Path, *names: str, content: bytes = b"x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def test_other_files_are_counted_by_suffix(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.mp4", "b/c.MKV", "b/d10.dv", "b/d9.m2t", "x.jpg", "y.JPG", "readme", "notes.txt", "backup.tar.gz"
    )
    files, problems, notes = scan(tmp_path)
    assert list(files) == ["a.mp4", "b/c.MKV", "b/d9.m2t", "b/d10.dv"]
    assert set(files.values()) == {""}
    assert problems == []
    (note,) = notes
    assert note.startswith(f"--input {tmp_path}: 5 files not read, because not videos: 2 .jpg, ")
    assert all(kind in note for kind in ("1 .txt", "1 without a suffix", "1 .tar.gz"))


def test_folder_with_videos_only_gives_no_note(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4")
    assert scan(tmp_path)[2] == []


def test_files_with_unknown_suffixes_are_recognized_by_content(tmp_path: Path) -> None:
    touch(tmp_path, "tape", "old.mod", "x.dat", content=b"\x00\x00\x01\xba" + bytes(100))
    touch(tmp_path, "go.mod", content=b"module example\n")
    touch(tmp_path, "half.mp4.part", "photo.jpg", content=b"\x00\x00\x01\xba" + bytes(100))
    files, _, notes = scan(tmp_path)
    assert list(files) == ["old.mod", "tape", "x.dat"]
    assert "3 files not read" in notes[0]
    assert "1 .mod" in notes[0]
    assert "1 .part" in notes[0]


def test_folder_without_videos_lists_other_files(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    _, problems, _ = scan(tmp_path)
    assert "no videos; 2 files not read, because not videos: 2 .jpg; allowed: files ending in .264, " in problems[0]


def test_unreadable_files_are_refused_one_by_one(tmp_path: Path) -> None:
    touch(tmp_path, "good.avi", os.fsdecode(b"\xe9t\xe9.avi"), "two\nlines.avi", os.fsdecode(b"d\xff/inner.avi"))
    (tmp_path / "broken.avi").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe.avi")
    files, problems, _ = scan(tmp_path)
    assert problems == []
    assert sorted(files.values()) == [
        "",
        "\\udce9t\\udce9.avi: its name is not UTF-8; rename it",
        "broken.avi: is a broken symlink; restore its target or remove it",
        "d\\udcff/inner.avi: its name is not UTF-8; rename it",
        "pipe.avi: is a pipe or a device, not a file; remove it",
        "two\\nlines.avi: its name has control or hidden characters; rename it",
    ]


def test_folder_without_permission_does_not_affect_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path, "a.avi", "locked/b.avi")
    real = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    files, problems, _ = scan(tmp_path)
    assert files == {"a.avi": "", "locked": "locked: cannot be listed (Permission denied); check its permissions"}
    assert problems == []


def test_symlinks_to_folders_are_counted_and_never_followed(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi")
    for name in ("loop", "another"):
        (tmp_path / name).symlink_to(".")
    (tmp_path / "linked.avi").symlink_to("a.avi")
    files, problems, notes = scan(tmp_path)
    assert files == {"a.avi": "", "linked.avi": ""}
    assert problems == []
    assert notes == [f"--input {tmp_path}: 2 symlinks to folders not followed"]


def test_symlink_that_points_outside_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "in/a.avi", "private.avi")
    (tmp_path / "in" / "b.avi").symlink_to(tmp_path / "private.avi")
    assert "'b.avi' is a symlink that points outside" in scan(tmp_path / "in")[1][0]


def test_output_folders_and_hidden_names_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi", "out/restored/a.mp4", ".trash/b.avi", "._a.avi", "__MACOSX/c.avi")
    (tmp_path / "out" / ".headrace").mkdir()
    files, _, notes = scan(tmp_path)
    assert list(files) == ["a.avi"]
    assert notes == [f"--input {tmp_path}: 3 hidden names skipped; 1 output folder of earlier runs not read: 'out'"]
    assert "restored/a.mp4" in scan(tmp_path / "out")[0]  # given as the input folder itself


def test_folders_too_deep_are_a_problem(tmp_path: Path) -> None:
    touch(tmp_path, "/".join([*["d"] * (MAX_LEVELS + 2), "a.avi"]))
    assert f"more than {MAX_LEVELS} nested folders" in scan(tmp_path)[1][0]


def test_notes_are_printable(tmp_path: Path) -> None:
    touch(tmp_path, "a.avi", "b.\x1b[31m", os.fsdecode(b"c.\xff"))
    (note,) = scan(tmp_path)[2]
    note.encode()
    assert note.isprintable()


@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("a.MP4", ".mp4"),
        ("a.fits.gz", ".fits.gz"),
        ("a.gz", ".gz"),
        ("a", ""),
        (".a", ""),
        ("a.", "."),
        ("x.y.Z", ".z"),
    ],
)
def test_suffix_is_lower_case_and_includes_gz(name: str, suffix: str) -> None:
    assert get_suffix(name) == suffix


@pytest.mark.parametrize(
    "head",
    [b"", b"text", b"OggS" + bytes(100), b"RIFF\0\0\0\0WAVE", b"\x47" + bytes(400), b"\xff\xd8\xff\xe0", b"%PDF-1.7"],
)
def test_other_content_is_not_recognized_as_video(head: bytes) -> None:
    assert not is_video(head)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"1.0 2.0\n1.5 2.0\n", True),
        (b"# time flux\n1.0, 2.0, 3\n", True),
        (b"time,flux\n1.0,2.0\n1.5,2.0\n", True),
        (b"\\char fixed\n|time |flux|\n 1.0  2.0\n", True),
        (b"SIMPLE  =                    T", True),
        (b"", False),
        (b"\n", False),
        (b"A readme of this folder\nwith 2 lines\n", False),
        (b"1.0\n2.0\n", False),
        (b"\xff\xfe1\0", False),
        (b"\x1f\x8bxx", False),
    ],
)
def test_light_curves_are_recognized_by_content(head: bytes, expected: bool) -> None:
    assert is_light_curve(head) is expected
