"""Prefect homes as their first server leaves them: making the database of a home takes a server several seconds."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.launcher.api import LocalApi


def used_home(home: Path, shared: Path) -> Path:
    """Make ``home``, which is not there, a copy of one that a server has used.

    ``shared`` is a folder of all processes of a test run: the first that comes starts the server, the others wait.
    """
    shared.mkdir(exist_ok=True)
    used, whole = shared / "home", shared / "whole"
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            shutil.rmtree(used, ignore_errors=True)
            with running_api(used):
                pass
            whole.touch()
    shutil.copytree(used, home)
    return home


@contextmanager
def running_api(home: Path) -> Iterator[LocalApi]:
    """A Prefect API of this process, with ``home`` as its home, that has no part in what is set here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(home))
        patch.setenv("PREFECT_API_URL", "")  # the API sets it: have it taken back afterwards
        patch.delenv("PREFECT_API_URL")
        with LocalApi() as api:
            api.start()
            api.wait()
            yield api


def shared_folder(own: Path) -> Path:
    """The folder for homes of a test run, beside or in the temporary folder ``own`` of one of its processes."""
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "prefect-homes"
