"""Test sizes as text, checksums of files, and free space."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from tasks.engine.store import files
from tasks.engine.store.files import format_bytes, free_bytes, hash_file


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (999.9 * 2**10, "1e+03 KiB"),
        (1000 * 2**10, "0.977 MiB"),
        (1000 * 2**20, "0.977 GiB"),
        (1000 * 2**30, "0.977 TiB"),
        (2.5 * 2**40, "2.5 TiB"),
        (999 * 2**40, "999 TiB"),
        (1000 * 2**40, "1,000 TiB"),
        (1999.6 * 2**40, "2,000 TiB"),
    ],
)
def test_sizes_have_at_most_three_digits(size: float, text: str) -> None:
    assert format_bytes(size) == text


def test_checksum_covers_the_whole_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 3
    (tmp_path / "file").write_bytes(content)
    assert hash_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(files, "_CHUNK_BYTES", 100)
    assert hash_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_free_space_is_read_from_the_nearest_existing_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> shutil._ntuple_diskusage:
        asked.append(path)
        return shutil._ntuple_diskusage(100, 60, 40)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert free_bytes(tmp_path / "not" / "yet") == 40
    assert free_bytes(tmp_path) == 40
    assert asked == [tmp_path, tmp_path]
