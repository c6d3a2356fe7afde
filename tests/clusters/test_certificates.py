"""Test the certificates of a cluster: they are private, never replaced, and checked before they are used."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from tasks.engine.contract.errors import RunError
from tasks.launcher.clusters.certificates import CA_FILE, check_certificates, create_certificates, get_files
from tasks.launcher.clusters.security import is_exposed
from tasks.launcher.commands import run_headrace


def test_command_creates_private_files_and_replaces_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "certs"
    assert run_headrace(["cluster", "certificates", str(folder)]) == 0
    files = sorted(folder.iterdir())
    assert [path.name for path in files] == [
        *("ca.key", "ca.pem", "client.key", "client.pem"),
        *("scheduler.key", "scheduler.pem", "worker.key", "worker.pem"),
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    check_certificates(folder)
    before = {path: path.read_bytes() for path in files}
    capsys.readouterr()
    assert run_headrace(["cluster", "certificates", str(folder)]) == 1
    assert "ca.pem exists already; name another folder" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in files} == before


def test_expired_certificate_is_refused(tmp_path: Path) -> None:
    create_certificates(tmp_path, -1)
    with pytest.raises(RunError, match=r"ca\.pem expired on .*; create new ones: headrace cluster certificates"):
        check_certificates(tmp_path)


def test_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    create_certificates(tmp_path / "one", 1)
    create_certificates(tmp_path / "two", 1)
    shutil.copy(tmp_path / "one" / CA_FILE, tmp_path / "two" / CA_FILE)
    with pytest.raises(RunError, match=r"client\.pem is not signed by .*ca\.pem"):
        check_certificates(tmp_path / "two", ["client"])


def test_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    create_certificates(tmp_path, 1)
    shutil.copy(get_files(tmp_path, "worker")["key"], get_files(tmp_path, "client")["key"])
    with pytest.raises(RunError, match=r"client\.key does not belong to its certificate"):
        check_certificates(tmp_path, ["client"])


@pytest.mark.parametrize(("content", "message"), [(None, "cannot be read"), ("no PEM", "is no certificate")])
def test_missing_or_damaged_certificate_is_refused(tmp_path: Path, content: str | None, message: str) -> None:
    create_certificates(tmp_path, 1)
    file = get_files(tmp_path, "client")["cert"]
    file.unlink()
    if content:
        file.write_text(content)
    with pytest.raises(RunError, match=message):
        check_certificates(tmp_path, ["client"])


@pytest.mark.parametrize(
    ("address", "exposed"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://[::1]:8786", False),
        ("tcp://localhost:8786", False),
        ("tls://10.0.0.1:8786", False),
        ("tcp://10.0.0.1:8786", True),
        ("tcp://node1:8786", True),
        ("inproc://10.0.0.1/1/1", False),
    ],
)
def test_plain_connections_beyond_this_machine_are_exposed(address: str, exposed: bool) -> None:
    assert is_exposed(address) is exposed
