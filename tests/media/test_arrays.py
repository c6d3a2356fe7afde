"""Limits on files of arrays and JSON: a small or damaged file does not fill the memory or raise a traceback."""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tasks.engine.contract.bounded import parse_json, read_at_most
from tasks.engine.contract.errors import BadInput
from tasks.landmarks.formats.reading import read_landmarks
from tasks.media import arrays
from tasks.media.arrays import MAX_UNPACKED_BYTES, read_arrays
from tasks.media.segments.source import load_survey
from tasks.media.segments.verify import read_reports
from tasks.overlays.overlay import load_overlays

NESTED = "[" * 200_000


def write_bomb(path: Path) -> None:
    """Write 128 MiB of zeros as an archive of 128 KiB."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("about.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (128 << 20,)})
        for _ in range(8):
            file.write(bytes(16 << 20))


def write_lying_header(path: Path) -> None:
    """Write an archive of some bytes whose array declares a terabyte."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "|u1", "fortran_order": False, "shape": (1 << 40,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("about.npy", content.getvalue())


def write_nested(path: Path) -> None:
    """Write metadata that is nested too deeply for a parser."""
    np.savez(path, about=np.array(NESTED), metadata=np.array(NESTED))


def write_truncated(path: Path) -> None:
    """Write half of a compressed archive."""
    np.savez_compressed(path, about=np.array(json.dumps([])), more=np.arange(10_000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def write_text(path: Path) -> None:
    """Write no archive."""
    path.write_text("no archive")


WRITERS = [write_bomb, write_lying_header, write_nested, write_truncated, write_text]


@pytest.mark.parametrize("write", WRITERS)
def test_damaged_arrays_give_one_line(tmp_path: Path, write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.npz"
    write(path)
    monkeypatch.setattr(arrays, "MAX_UNPACKED_BYTES", 64 << 20)
    allocated = watch_allocations(monkeypatch)
    for read in (load_survey, load_overlays):
        with pytest.raises(BadInput, match=r"file\.npz") as refused:
            read(path)
        assert "\n" not in str(refused.value)
        assert "headrace items forget" in str(refused.value)
    with pytest.raises(ValueError, match=r"file\.npz.* is damaged"):
        read_landmarks(path)
    assert allocated() < 1 << 20


def watch_allocations(monkeypatch: pytest.MonkeyPatch):
    """Return a function that gives the number of bytes that reading archives allocated."""
    total = 0
    read_array = np.lib.format.read_array

    def read(*given, **options):
        nonlocal total
        array = read_array(*given, **options)
        total += array.nbytes if array.dtype.kind != "U" else 0
        return array

    monkeypatch.setattr(np.lib.format, "read_array", read)
    return lambda: total


def test_arrays_with_a_large_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An uncompressed archive is bounded by its size, a compressed one by the limit."""
    monkeypatch.setattr(arrays, "MAX_UNPACKED_BYTES", 1000)
    np.savez(tmp_path / "plain.npz", zeros=np.zeros(1000))
    np.savez_compressed(tmp_path / "packed.npz", zeros=np.zeros(1000))
    assert read_arrays(tmp_path / "plain.npz")["zeros"].nbytes == 8000
    with pytest.raises(ValueError, match="it unpacks to"):
        read_arrays(tmp_path / "packed.npz")
    assert MAX_UNPACKED_BYTES == 2 << 30


@pytest.mark.parametrize("content", [NESTED, "{", "[]", '{"frames": 1, "surprise": 2}', "\udcff"])
def test_damaged_report_of_a_segment_gives_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "0000.json"
    path.write_text(content, errors="surrogateescape")
    with pytest.raises(BadInput, match=r"0000\.json, the report on a segment, is damaged"):
        read_reports([path])


def test_report_of_a_segment_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "0000.json"
    path.touch()
    os.truncate(path, 10 << 30)
    with pytest.raises(BadInput, match="larger than 1 MiB"):
        read_reports([path])


@pytest.mark.parametrize("suffix", [".npy", ".pose"])
def test_nested_side_file_of_landmarks_gives_one_line(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "a.json").write_text(NESTED)
    (tmp_path / f"a{suffix}").touch()
    with pytest.raises(ValueError, match="nested too deeply"):
        read_landmarks(tmp_path / f"a{suffix}")


def test_reads_are_bounded_and_reject_pipes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    assert read_at_most(tmp_path / "file", 5) == b"12345"
    with pytest.raises(ValueError, match="larger than"):
        read_at_most(tmp_path / "file", 4)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a plain file"):
        read_at_most(tmp_path / "pipe", 5)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json(NESTED)
