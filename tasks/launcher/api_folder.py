"""The private folder of a run's Prefect server: its database, its Prefect home and the file with its password.

The folder is new for each run, readable by its user alone, and removed at the end of the run. A lock that the processes
of the run hold tells the folder of a live run from one that a killed run has left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import BinaryIO

from tasks.engine.contract.errors import RunError

_PREFIX = "headrace-prefect-"
_LOCK = "lock"
_UNLOCKED_SECONDS = 3600.0  # age of a folder without a lock file that is certainly not about to get one


class PrivateFolder:
    """A new folder with mode 0700 in the temporary folder; live as long as the descriptor ``lock`` is open."""

    def __init__(self) -> None:
        """Create the folder. Raises RunError if the scratch takes no files."""
        try:
            self.path = Path(tempfile.mkdtemp(prefix=_PREFIX)).absolute()
            self.lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError(
                f"no folder for the run's own Prefect server can be created: {error}; set TMPDIR to a folder that takes"
                " files, or PREFECT_API_URL to the address of a server"
            ) from None

    def create_private(self, name: str) -> BinaryIO:
        """Create a file that only its owner can read; return it opened for writing."""
        return os.fdopen(os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600), "wb")

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.lock)


def remove_dead_folders() -> None:
    """Remove this user's folders whose runs are gone. Folders of others and symlinks are left alone."""
    try:
        folders = [path for path in Path(tempfile.gettempdir()).iterdir() if path.name.startswith(_PREFIX)]
    except OSError:
        return
    for folder in folders:
        if _is_own_folder(folder) and _is_dead(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _is_own_folder(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077


def _is_dead(folder: Path) -> bool:
    try:
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return time.time() - folder.lstat().st_mtime > _UNLOCKED_SECONDS
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True
