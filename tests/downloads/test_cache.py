"""The folder that downloads share: its locks and its clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.downloads.cache import Pace, SharedCache
from tasks.transits.sources.downloads import read_folder_clock


@pytest.mark.parametrize("name", ["locks", "connections"])
def test_locks_that_are_symlinks_are_refused(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    cache = SharedCache(tmp_path / "cache", 1, Pace())
    with cache.lock("key"), cache.hold_connection("host"):
        [lock] = (tmp_path / "cache" / name).glob("*.lock")
    lock.unlink()
    lock.symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), cache.lock("key"), cache.hold_connection("host"):
        pass
    assert not victim.exists()


def test_clock_of_a_folder_is_that_of_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The local clock is a day ahead; the files of the folder are not."""
    (tmp_path / "new").touch()
    monkeypatch.setattr("time.time", lambda: 4e9)
    assert abs(read_folder_clock(tmp_path) - (tmp_path / "new").stat().st_mtime) < 60
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
