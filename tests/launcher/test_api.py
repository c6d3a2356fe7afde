"""Test the Prefect server of a run: access, stored files, and cleanup."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tasks.engine.contract.errors import RunError
from tasks.launcher import api_folder
from tasks.launcher.api import LocalApi
from tasks.launcher.api_client import bypass_proxies
from tasks.launcher.api_folder import PrivateFolder, remove_dead_folders
from tasks.launcher.prefect_home import check_prefect_home

FOREIGN = "http://evil.example"
POSTS = ("block_documents", "flow_runs", "task_runs", "logs", "variables")


@pytest.fixture(scope="module")
def user_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a Prefect home of the user with a profile that names a database."""
    home = tmp_path_factory.mktemp("user") / "home"
    home.mkdir()
    url = f"sqlite+aiosqlite:///{home}/mine.db"
    (home / "profiles.toml").write_text(
        f'active = "mine"\n[profiles.mine]\nPREFECT_API_DATABASE_CONNECTION_URL = "{url}"\n'
    )
    return home


@pytest.fixture(scope="module")
def api(user_home: Path) -> Iterator[LocalApi]:
    """Start a run's server while the user's home, profile and variables all name another database."""
    url = f"sqlite+aiosqlite:///{user_home}/other.db"
    with pytest.MonkeyPatch.context() as patch:
        for name in ("PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"):
            patch.setenv(name, url)
        patch.setenv("PREFECT_HOME", str(user_home))
        patch.setenv("PREFECT_PROFILE", "mine")
        patch.setenv("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "*")
        patch.setenv("PREFECT_SERVER_DATABASE_PASSWORD", "unused")
        with LocalApi() as running:
            running.start()
            running.wait()
            yield running


def send_request(api: LocalApi, path: str, password: str = "", **headers: str) -> httpx.Response:
    """Send a GET request, or a POST request with an empty filter, and return the response."""
    method = "POST" if path.endswith("/filter") else "GET"
    auth = tuple(password.split(":", 1)) if password else None
    with httpx.Client(trust_env=False) as client:
        return client.request(
            method, f"{api.url}{path}", json={} if method == "POST" else None, auth=auth, headers=headers
        )


@pytest.mark.parametrize("kind", POSTS)
def test_api_refuses_requests_without_the_password(api: LocalApi, kind: str) -> None:
    path = f"/{kind}/filter"
    assert send_request(api, path).status_code == httpx.codes.UNAUTHORIZED
    assert send_request(api, path, "headrace:wrong").status_code == httpx.codes.UNAUTHORIZED
    assert send_request(api, path, api.auth_string).status_code == httpx.codes.OK


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/admin/settings", "/csrf-token?client=x"])
def test_pages_besides_the_ui_require_the_password(api: LocalApi, path: str) -> None:
    assert send_request(api, path).status_code == httpx.codes.UNAUTHORIZED


@pytest.mark.parametrize("socket", ["/events/in", "/events/out", "/logs/out", "/task_runs/subscriptions/scheduled"])
def test_websockets_require_the_password(api: LocalApi, socket: str) -> None:
    address = f"{api.url}{socket}".replace("http://", "ws://")
    with pytest.raises(InvalidStatus):
        connect(address)
    with connect(address, subprotocols=["prefect"]) as connection:  # type: ignore[list-item]
        connection.send('{"type": "auth", "token": "wrong"}')
        with pytest.raises(Exception, match="1008"):
            connection.recv()


def test_cross_origin_requests_are_refused(api: LocalApi) -> None:
    for origin in (FOREIGN, "null", api.ui_url.replace("127.0.0.1", "127.0.0.2"), "http://127.0.0.1"):
        answer = send_request(api, "/flow_runs/filter", api.auth_string, Origin=origin)
        assert answer.status_code == httpx.codes.FORBIDDEN
        assert "access-control-allow-origin" not in answer.headers
        with pytest.raises(InvalidStatus):
            connect(f"{api.url}/events/out".replace("http://", "ws://"), origin=origin)  # type: ignore[arg-type]
    own = send_request(api, "/flow_runs/filter", api.auth_string, Origin=api.ui_url)
    assert own.status_code == httpx.codes.OK
    assert own.headers.get("access-control-allow-origin") != "*"


def test_requests_for_other_host_names_are_refused(api: LocalApi) -> None:
    """Test host names that an attacker's DNS has rebound to the loopback."""
    port = api.ui_url.rpartition(":")[2]
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}", "localhost:1"):
        assert send_request(api, "/health", api.auth_string, Host=host).status_code == httpx.codes.MISDIRECTED_REQUEST
    assert (
        send_request(api, "/flow_runs/filter", api.auth_string, Host=f"localhost:{port}").status_code == httpx.codes.OK
    )


def test_ui_asks_for_the_password(api: LocalApi) -> None:
    with httpx.Client(trust_env=False, follow_redirects=True) as client:
        page = client.get(api.ui_url, headers={"Accept": "text/html"})
        settings = client.get(f"{api.ui_url}/ui-settings").json()
    assert page.is_success
    assert settings["auth"] == "BASIC"
    assert settings["api_url"] == api.url
    assert api.auth_string not in page.text


def test_server_listens_only_on_the_loopback(api: LocalApi) -> None:
    assert api._process is not None
    assert find_listening_addresses(api._process.pid) == {"0100007F"}


def test_password_is_only_in_a_private_file(api: LocalApi) -> None:
    secret = api.auth_string.partition(":")[2]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            assert secret.encode() not in (process / "cmdline").read_bytes()
        except OSError:
            continue
    assert api.password_file.read_text() == f"{api.auth_string}\n"
    assert stat.S_IMODE(api.home.stat().st_mode) == 0o700
    assert stat.S_IMODE(api.password_file.stat().st_mode) == 0o600


def test_server_ignores_the_databases_of_the_user(api: LocalApi, user_home: Path) -> None:
    assert (api.home / "prefect.db").is_file()
    assert {path.name for path in user_home.iterdir()} == {"profiles.toml"}


def test_each_server_has_a_different_password() -> None:
    with LocalApi() as first, LocalApi() as second:
        assert first.auth_string != second.auth_string


def test_folder_of_a_server_that_never_started_is_removed() -> None:
    with LocalApi() as api:
        home = api.home
    assert not home.exists()


def test_failed_server_start_raises_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_SERVER_LOGGING_LEVEL", "no level")
    with LocalApi() as api:
        api.start()
        with pytest.raises(RunError, match="did not start") as raised:
            api.wait()
    assert "\n" not in str(raised.value)
    assert not api.home.exists()


def test_unwritable_temporary_folder_raises_a_one_line_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr("tempfile.tempdir", str(file / "missing"))
    with pytest.raises(RunError, match="set TMPDIR") as raised, LocalApi():
        pass
    assert "\n" not in str(raised.value)


# Folders of dead runs


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_only_folders_of_killed_runs_are_removed(scratch: Path) -> None:
    live = PrivateFolder()
    code = "from tasks.launcher.api_folder import PrivateFolder; print(PrivateFolder().path)"
    environment = {**os.environ, "TMPDIR": str(scratch)}
    finished = subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True)
    dead = Path(finished.stdout.decode().strip())
    assert dead.parent == scratch
    assert dead.is_dir()
    remove_dead_folders()
    assert not dead.exists()
    assert live.path.is_dir()
    live.remove()
    assert list(scratch.iterdir()) == []


def test_folders_that_others_can_access_are_not_removed(scratch: Path) -> None:
    victim = scratch / "victim"
    victim.mkdir(mode=0o700)
    (victim / "lock").touch()
    (scratch / f"{api_folder._PREFIX}link").symlink_to(victim)
    (scratch / f"{api_folder._PREFIX}open").mkdir()
    (scratch / f"{api_folder._PREFIX}open").chmod(0o777)
    (scratch / f"{api_folder._PREFIX}open" / "lock").touch()
    (scratch / f"{api_folder._PREFIX}starting").mkdir(mode=0o700)
    before = sorted(scratch.rglob("*"))
    remove_dead_folders()
    assert sorted(scratch.rglob("*")) == before


# Client settings of the flow's process


def test_proxies_are_bypassed_on_the_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", "intern.example")
    bypass_proxies()
    bypass_proxies()
    assert os.environ["no_proxy"] == "intern.example,127.0.0.1"
    monkeypatch.setenv("no_proxy", "*")
    bypass_proxies()
    assert os.environ["no_proxy"] == "*"


def test_missing_prefect_home_needs_no_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for home in ("missing", "file", "file/below"):
        monkeypatch.setenv("PREFECT_HOME", str(tmp_path / home))
        assert check_prefect_home(None) == ""


def test_unreadable_prefect_home_is_replaced_with_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "profiles.toml").mkdir()  # unreadable even for root
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with pytest.raises(RunError, match="set PREFECT_HOME"):
        check_prefect_home(None)
    with LocalApi() as api:
        assert "its profiles are not used" in check_prefect_home(api)
        assert os.environ["PREFECT_HOME"] == str(api.home)


def find_listening_addresses(pid: int) -> set[str]:
    """Return the IPv4 and IPv6 addresses on which a process listens, in the kernel's format."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(str(descriptor.readlink()))
        except OSError:
            continue
    addresses = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                addresses.add(words[1].partition(":")[0])
    return addresses
