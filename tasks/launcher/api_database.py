"""A migrated, empty Prefect database for each run.

Prefect's migrations take seconds. The first run keeps a copy of its database from before it served anything, in the
user's cache; later runs start from it. The copy is keyed by Prefect's version and used only if it is the user's own
regular file in a folder of the user's that nobody else can write to.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sqlite3
import stat
import tempfile
from pathlib import Path

from tasks.engine.contract.cache_folder import get_default_cache


def template_path() -> Path:
    """Return the path of the template for the installed Prefect."""
    return get_default_cache(os.environ, "prefect") / f"empty-{importlib.metadata.version('prefect')}.db"


def copy_template(template: Path, database: Path) -> bool:
    """Create ``database`` from ``template``; return False if there is no template that can be trusted."""
    with contextlib.suppress(OSError):
        database.write_bytes(_read_private(template))
        if _is_migrated(database):
            return True
        database.unlink()
    return False


def keep_template(database: Path, template: Path) -> None:
    """Keep a copy of ``database`` as ``template``. If it cannot be kept, the next run migrates again."""
    with contextlib.suppress(OSError, sqlite3.Error):
        template.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_private(template.parent.lstat())
        descriptor, name = tempfile.mkstemp(dir=template.parent)  # mode 0600
        copy = Path(name)
        try:
            _back_up(database, copy)
            os.fsync(descriptor)
            copy.replace(template)
        finally:
            os.close(descriptor)
            copy.unlink(missing_ok=True)


def _read_private(path: Path) -> bytes:
    """Return the content of ``path``. Raises PermissionError if anybody else could have written it."""
    _check_private(path.parent.lstat())
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as stream:
        _check_private(os.fstat(stream.fileno()))
        return stream.read()


def _check_private(status: os.stat_result) -> None:
    """Raise PermissionError unless ``status`` is of a file or folder that only this user can change."""
    is_plain = stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)
    if not is_plain or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError("other users can change it")


def _back_up(database: Path, copy: Path) -> None:
    """Copy ``database`` including its write-ahead log."""
    with contextlib.closing(sqlite3.connect(database)) as source, contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)


def _is_migrated(database: Path) -> bool:
    """Return True if ``database`` is intact and holds the mark of a completed migration."""
    try:
        with contextlib.closing(sqlite3.connect(database)) as connection:
            checked = connection.execute("PRAGMA quick_check").fetchone()
            versions = connection.execute("SELECT count(*) FROM alembic_version").fetchone()
    except sqlite3.Error:
        return False
    return bool(checked == ("ok",) and versions == (1,))
