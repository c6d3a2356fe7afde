"""The state folder of `headrace serve`, ``data/serve`` in its working folder. Only its owner can read it.

users      names and tokens of the upload service; the first user's line is also the password of the Prefect server
lock       held by the process that serves; names it and its address
marks      marks of its processes, with which the next one finds those that a kill has left
prefect/   the Prefect home, with the database
uploads/   the folder of the upload service
logs/      the output of each part
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from deployments.web.users import read_users
from tasks.engine.contract.errors import RunError
from tasks.engine.running.watchdog import end_marked, is_mark

USER = "headrace"
_TOKEN_BYTES = 24
_MAX_LOG_BYTES = 10 << 20


@dataclass(frozen=True)
class StateFolder:
    """The folder at ``path``; create it by :func:`hold_state_folder`. ``lock`` is the open lock file."""

    path: Path
    lock: TextIO

    @property
    def users(self) -> Path:
        """The file with users and tokens."""
        return self.path / "users"

    @property
    def prefect_home(self) -> Path:
        """The Prefect home."""
        return self.path / "prefect"

    @property
    def uploads(self) -> Path:
        """The folder of the upload service."""
        return self.path / "uploads"

    @property
    def inbox(self) -> Path:
        """The file in which the inbox remembers handled files."""
        return self.path / "inbox.json"

    def get_log(self, part: str) -> Path:
        """Return the path of a part's log."""
        return self.path / "logs" / f"{part}.log"

    def open_log(self, part: str) -> int:
        """Return a descriptor to which the output of a part is appended. A large log is renamed first."""
        path = self.get_log(part)
        path.parent.mkdir(exist_ok=True)
        if path.exists() and path.stat().st_size > _MAX_LOG_BYTES:
            path.replace(path.with_suffix(".old.log"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def read_password(self) -> str:
        """Return ``headrace:TOKEN``; the file is created with a new token if it is missing. Raises RunError."""
        with contextlib.suppress(FileExistsError):
            descriptor = os.open(self.users, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(f"{USER}:{secrets.token_urlsafe(_TOKEN_BYTES)}\n")
        _, problems = read_users("", str(self.users))
        if problems:
            raise RunError(f"{self.users}: {problems[0].given}; correct it, or remove it to create a new password")
        lines = self.users.read_text(encoding="utf-8").split()
        password = next((line for line in lines if line.startswith(f"{USER}:")), None)
        if password is None:
            raise RunError(f"{self.users} has no line of the user {USER}; add {USER}:TOKEN, or remove the file")
        return password

    def announce(self, address: str) -> None:
        """Write this process and its address into the lock, for others that find it held."""
        self.lock.seek(0)
        self.lock.truncate()
        json.dump({"process": os.getpid(), "address": address}, self.lock)
        self.lock.flush()

    def add_mark(self, mark: str) -> None:
        """Remember a mark of this process's children."""
        with self._marks.open("a") as file:
            file.write(f"{mark}\n")

    def end_remains(self) -> int:
        """End processes that an earlier, killed process has left; return their number."""
        try:
            marks = {line for line in self._marks.read_text().split() if is_mark(line)}
        except FileNotFoundError:
            return 0
        count = end_marked(marks)
        self._marks.unlink()
        return count

    @property
    def _marks(self) -> Path:
        return self.path / "marks"


@contextmanager
def hold_state_folder(path: Path) -> Iterator[StateFolder]:
    """Create the folder and hold its lock. Raises RunError if another process holds it, or it cannot be written."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
        lock = (path / "lock").open("a+", encoding="utf-8")
    except OSError as error:
        advice = "choose another folder with --folder"
        raise RunError(f"{error.filename or path} cannot be written: {error.strerror}; {advice}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunError(
                f"{path} is in use by {_describe_holder(lock)}; stop it, or choose another --folder"
            ) from None
        folder = StateFolder(path, lock)
        folder.announce("")
        yield folder


def _describe_holder(lock: TextIO) -> str:
    try:
        lock.seek(0)
        content = json.load(lock)
        at = f" at {content['address']}" if content["address"] else ", which is starting"
        return f"headrace serve, process {content['process']}{at}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another headrace serve"
