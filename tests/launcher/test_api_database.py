"""Test the cached template of a run's database: it is used only if nobody else can have written it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from tasks.launcher.api_database import copy_template, keep_template


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """A migrated database with changes in its write-ahead log."""
    path = tmp_path / "migrated.db"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('1')")
        connection.executemany("INSERT INTO alembic_version SELECT ? WHERE 0", [(str(n),) for n in range(100)])
        connection.commit()
    return path


@pytest.fixture
def template(tmp_path: Path, database: Path) -> Path:
    """Create a template in a new folder."""
    path = tmp_path / "cache" / "prefect" / "empty.db"
    keep_template(database, path)
    return path


def test_template_is_private_and_copied(template: Path, tmp_path: Path) -> None:
    assert stat.S_IMODE(template.stat().st_mode) == 0o600
    assert stat.S_IMODE(template.parent.stat().st_mode) == 0o700
    assert [path.name for path in template.parent.iterdir()] == ["empty.db"]
    assert copy_template(template, tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("1",)]


def test_template_includes_the_write_ahead_log(database: Path, tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '2'")
        connection.commit()
        assert database.with_name("migrated.db-wal").stat().st_size > 0
        keep_template(database, tmp_path / "cache" / "empty.db")
    assert copy_template(tmp_path / "cache" / "empty.db", tmp_path / "copy.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("2",)]


def test_missing_template_is_not_copied(tmp_path: Path) -> None:
    assert not copy_template(tmp_path / "missing" / "empty.db", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("damage", ["truncated", "overwritten", "empty", "without tables", "half migrated"])
def test_damaged_template_is_not_copied(template: Path, tmp_path: Path, damage: str) -> None:
    content = template.read_bytes()
    if damage == "half migrated":
        with contextlib.closing(sqlite3.connect(template)) as connection:
            connection.execute("DELETE FROM alembic_version")
            connection.commit()
    elif damage == "without tables":
        template.unlink()
        with contextlib.closing(sqlite3.connect(template)) as connection:
            connection.execute("CREATE TABLE other (a)")
        template.chmod(0o600)
    else:
        damaged = {"truncated": content[: len(content) // 2], "overwritten": b"x" * len(content), "empty": b""}
        template.write_bytes(damaged[damage])
    assert not copy_template(template, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()


@pytest.mark.parametrize("place", ["file", "folder"])
def test_template_that_others_can_write_is_not_copied(template: Path, tmp_path: Path, place: str) -> None:
    (template if place == "file" else template.parent).chmod(0o777)
    assert not copy_template(template, tmp_path / "copy.db")
    if place == "folder":
        before = template.stat().st_ino
        keep_template(tmp_path / "migrated.db", template)
        assert template.stat().st_ino == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the owner of files")
@pytest.mark.parametrize("place", ["file", "folder"])
def test_template_of_another_user_is_not_copied(template: Path, tmp_path: Path, place: str) -> None:
    os.chown(template if place == "file" else template.parent, 12345, 12345)
    assert not copy_template(template, tmp_path / "copy.db")


def test_symlink_to_a_template_is_not_followed(template: Path, tmp_path: Path) -> None:
    link = template.with_name("link.db")
    link.symlink_to(template)
    assert not copy_template(link, tmp_path / "copy.db")
    (tmp_path / "linked").symlink_to(template.parent)
    assert not copy_template(tmp_path / "linked" / "empty.db", tmp_path / "copy.db")


def test_unwritable_cache_is_not_an_error(database: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    keep_template(database, tmp_path / "file" / "empty.db")
    keep_template(tmp_path / "missing" / "no.db", tmp_path / "new" / "empty.db")
    assert list((tmp_path / "new").iterdir()) == []
