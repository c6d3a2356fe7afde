"""Settings and users of the upload service: every problem is one line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from deployments.web.running import is_locked
from deployments.web.settings import Settings, read_settings
from tasks.engine.contract.errors import InvalidInput
from tasks.engine.store.layout import Layout
from tasks.engine.store.lock import hold_lock
from tests.flows.service import ROOT, build_environment
from tests.test_docs import read_rows

TOKEN = "0123456789abcdef"
GOOD = {"HEADRACE_WEB_FOLDER": "/srv/uploads", "HEADRACE_WEB_USERS": f"anna:{TOKEN}, bert:{TOKEN}x"}


def read(**changes: str) -> Settings:
    return read_settings({**GOOD, **{f"HEADRACE_WEB_{name}": value for name, value in changes.items()}, "PATH": "/bin"})


def test_settings_have_units_and_defaults() -> None:
    settings = read(MAX_SIZE="2GiB", EXPIRY_HOURS="12")
    assert (settings.max_size, settings.expiry_hours, settings.port) == (2 << 30, 12, 4280)
    assert settings.deployments["overlays"] == "overlay-removal/default"
    assert settings.users.check("anna", TOKEN)
    assert settings.users.find(f"{TOKEN}x") == "bert"
    assert TOKEN not in repr(settings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"PORT": "0"}, "HEADRACE_WEB_PORT: '0'"),
        ({"MAX_SIZE": "banana"}, "HEADRACE_WEB_MAX_SIZE: 'banana'"),
        ({"EXPIRY_HOURS": "nan"}, "HEADRACE_WEB_EXPIRY_HOURS: 'nan'"),
        ({"TAPES_DEPLOYMENT": "vhs"}, "HEADRACE_WEB_TAPES_DEPLOYMENT: 'vhs'"),
        ({"MAX_SISE": "2GiB"}, "HEADRACE_WEB_MAX_SISE: no such setting"),
        ({"USERS": ""}, "no users"),
        ({"USERS": "anna:short"}, "entry 1 is invalid"),
        ({"USERS": f"../anna:{TOKEN}"}, "entry 1 is invalid"),
        ({"USERS": f"anna:{TOKEN},bert:{TOKEN}"}, "entry 2 is invalid, or repeats a token"),
        ({"USERS": f"anna:{TOKEN},anna:{TOKEN}x"}, "entry 2 names anna again"),
        ({"URL": "headrace.example"}, "HEADRACE_WEB_URL: 'headrace.example'"),
        ({"OUTPUTS": "data", "VIEWERS": "anna"}, "absolute paths of folders"),
        ({"OUTPUTS": "/data"}, "HEADRACE_WEB_VIEWERS: not set; allowed: names of users (anna, bert)"),
        ({"VIEWERS": "anna,carl"}, "HEADRACE_WEB_VIEWERS: 'carl' is no user"),
        ({"USERS_FILE": "/no/such/file"}, "/no/such/file cannot be read"),
    ],
)
def test_invalid_settings_are_problems(changes: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(**changes)
    assert words in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_users_file_is_private(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text(f"# the family\nanna:{TOKEN}\n\n")
    file.chmod(0o644)
    with pytest.raises(InvalidInput, match="can be read by others"):
        read(USERS="", USERS_FILE=str(file))
    file.chmod(0o600)
    assert read(USERS="", USERS_FILE=str(file)).users.check("anna", TOKEN)


@pytest.mark.parametrize(
    ("name", "token"), [("anna", ""), ("anna", TOKEN[:-1]), ("carl", TOKEN), ("", ""), ("bert", TOKEN)]
)
def test_wrong_tokens_are_refused(name: str, token: str) -> None:
    assert not read().users.check(name, token)


def test_every_setting_is_documented() -> None:
    names = {f"HEADRACE_WEB_{name.upper()}" for name in Settings.model_fields} | {"HEADRACE_WEB_USERS_FILE"}
    assert names <= set(read_rows(ROOT / "docs" / "upload.md"))


def test_missing_settings_are_one_line_each(tmp_path: Path) -> None:
    variables = build_environment(tmp_path, uuid.uuid4().hex, PYTHONPATH=str(ROOT))
    command = [sys.executable, "-m", "deployments.web"]
    ran = subprocess.run(command, check=False, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 2), ran.stderr
    for words in ("HEADRACE_WEB_USERS", "HEADRACE_WEB_FOLDER: not set"):
        assert words in ran.stderr
    ran = subprocess.run(command, check=False, cwd=tmp_path, env={**variables, **GOOD}, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr.count("\n")) == (2, 1), ran.stderr
    assert "PREFECT_API_URL" in ran.stderr


def test_folder_of_a_run_is_locked_while_it_lives(tmp_path: Path) -> None:
    path = Layout(tmp_path).lock
    path.parent.mkdir()
    assert not is_locked(tmp_path)
    with hold_lock(path, "run"):
        assert is_locked(tmp_path)
        content = path.read_bytes()
    assert not is_locked(tmp_path)
    dead = content.replace(b'"start_ticks": ', b'"start_ticks": 1')  # another process had this number
    path.write_bytes(dead)
    assert not is_locked(tmp_path)
    path.write_bytes(b"damaged")
    assert is_locked(tmp_path)
    old = time.time() - 1000
    os.utime(path, (old, old))
    assert not is_locked(tmp_path)
