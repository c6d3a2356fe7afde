"""Test which running server a run uses, and what it says of a server that it cannot use. All servers are real."""

from __future__ import annotations

import importlib.metadata
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks.launcher.api import LocalApi
from tasks.launcher.api_client import wait_for_overloaded_servers
from tasks.launcher.doctor import check_server
from tasks.launcher.running_server import RunningServer, find_running_server
from tests.homes import OpenServer, run_api
from tests.runs.bench import Bench


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, make_home: Callable[[Path], Path]) -> Path:
    return make_home(tmp_path_factory.mktemp("running") / "home")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[OpenServer]:
    with run_api(home) as running:
        yield running


@pytest.fixture(scope="module")
def locked() -> Iterator[LocalApi]:
    """Start a server with a password."""
    with LocalApi() as running:
        running.start()
        running.wait()
        yield running


def get_port(url: str) -> str:
    return str(httpx.URL(url).port)


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that sets Prefect's variables and removes all others."""

    def set_variables(home: Path, url: str, **more: str) -> None:
        for name in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"PREFECT_HOME": str(home), "PREFECT_SERVER_API_PORT": get_port(url), **more}.items():
            monkeypatch.setenv(name, value)

    return set_variables


def test_server_with_the_same_home_is_found(server: OpenServer, home: Path, use: Callable[..., None]) -> None:
    use(home, server.url)
    assert find_running_server() == RunningServer(server.url.removesuffix("/api"))


def test_server_of_another_home_is_not_used(server: OpenServer, tmp_path: Path, use: Callable[..., None]) -> None:
    use(tmp_path, server.url)
    assert find_running_server() is None


def test_server_that_the_user_named_takes_precedence(
    server: OpenServer, home: Path, tmp_path: Path, use: Callable[..., None]
) -> None:
    use(home, server.url, PREFECT_API_URL="http://other.example/api")
    assert find_running_server() is None
    profiles = 'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "http://other.example/api"\n'
    use(home, server.url)
    (home / "profiles.toml").write_text(profiles)
    try:
        assert find_running_server() is None
        use(home, server.url, PREFECT_PROFILE="ephemeral")
        assert find_running_server() is not None
        (home / "profiles.toml").write_text("damaged [")  # the run's own home is used instead of this one
        assert find_running_server() is None
    finally:
        (home / "profiles.toml").unlink()


@pytest.mark.parametrize("port", ["", "banana", "1", "70000"])
def test_ports_without_a_server_have_none(port: str, home: Path, use: Callable[..., None]) -> None:
    use(home, "http://127.0.0.1:1/api", PREFECT_SERVER_API_PORT=port)
    assert find_running_server() is None


def test_server_of_another_user_is_not_used(
    server: OpenServer, home: Path, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(home, server.url)
    monkeypatch.setattr("os.geteuid", lambda: 12345)
    assert find_running_server() is None


def test_process_of_this_user_that_is_no_server_is_refused(
    tmp_path: Path, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket is this process's, whose home is that of its environment at its start."""
    code = "import socket, sys; s = socket.create_server(('127.0.0.1', 0)); s.listen(0)\n"
    code += "print(s.getsockname()[1], flush=True); c, _ = s.accept(); c.close(); sys.stdin.read()"
    environment = {"PREFECT_HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        use(tmp_path, f"http://127.0.0.1:{int(process.stdout.readline())}")
        found = find_running_server()
        process.stdin.close()
    assert found is not None
    assert found.refusal.startswith("does not answer: ")


def test_server_with_a_password_is_used_with_it(locked: LocalApi, use: Callable[..., None]) -> None:
    use(locked.home, locked.url)
    found = find_running_server()
    assert found is not None
    assert found.refusal == "asks for a password: set PREFECT_API_AUTH_STRING"
    use(locked.home, locked.url, PREFECT_API_AUTH_STRING="headrace:wrong")
    found = find_running_server()
    assert found is not None
    assert found.refusal.startswith("rejects the password in PREFECT_API_AUTH_STRING")
    use(locked.home, locked.url, PREFECT_API_AUTH_STRING=locked.auth_string)
    assert find_running_server() == RunningServer(locked.ui_url)


def test_server_of_another_version_is_refused(
    server: OpenServer, home: Path, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(home, server.url)
    own = importlib.metadata.version("prefect")
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.20.1")
    found = find_running_server()
    assert found is not None
    assert found.refusal.startswith(f"has version {own} of Prefect, and this run has 2.20.1")


# Runs


def run_items(folder: Path, home: Path, api: str | None, patch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Run one item in a child process; return the exit code and the output."""
    bench = Bench(folder, home, api, patch)
    bench.write_manifest({"id": "item", "do": "take_time", "seconds": 0.0})
    with bench.start_flow("--workers", 1) as flow:
        code = flow.wait()
        return code, flow.log.read_text()


def test_run_without_an_address_uses_the_running_server(
    server: OpenServer, home: Path, tmp_path: Path, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(home, server.url)
    code, text = run_items(tmp_path, home, None, monkeypatch)
    assert code == 0, text
    assert f"Prefect UI: {server.url.removesuffix('/api')}\n" in text
    assert "password" not in text
    runs = httpx.post(f"{server.url}/flow_runs/filter", json={}).json()
    assert [run["state_name"] for run in runs] == ["Completed"]


def test_run_starts_its_own_server_if_the_running_one_asks_for_a_password(
    locked: LocalApi, tmp_path: Path, use: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    use(locked.home, locked.url)
    code, text = run_items(tmp_path, locked.home, None, monkeypatch)
    assert code == 0, text
    words = "asks for a password: set PREFECT_API_AUTH_STRING; this run starts its own"
    assert f"the Prefect server at {locked.ui_url} {words}\n" in text
    assert "Prefect UI while this runs" in text


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "asks for a password: set PREFECT_API_AUTH_STRING"),
        ("headrace:wrong", "rejects the password in PREFECT_API_AUTH_STRING: set the one of the server"),
    ],
)
def test_run_with_a_wrong_password_says_so(
    locked: LocalApi,
    tmp_path: Path,
    use: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    password: str,
    words: str,
) -> None:
    use(tmp_path, locked.url, **({"PREFECT_API_AUTH_STRING": password} if password else {}))
    code, text = run_items(tmp_path, tmp_path, locked.url, monkeypatch)
    assert code == 1
    assert text.splitlines()[-1] == f"error: the Prefect server at {locked.url} {words}"
    assert "does not answer" not in text


def test_doctor_asks_for_the_password(locked: LocalApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_AUTH_STRING", raising=False)
    assert "asks for a password" in check_server(locked.url).text
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", locked.auth_string)
    assert check_server(locked.url).state == "ok"


# Overload


@pytest.fixture
def busy() -> Iterator[tuple[str, list[int]]]:
    """Start an HTTP server that answers 503 to its first calls; yield its address and a list of how many are left."""
    left = [0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            is_busy, left[0] = left[0] > 0, left[0] - 1
            content = json.dumps("3.8.0").encode()
            self.send_response(503 if is_busy else 200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/api", left
        server.shutdown()
        thread.join()


def test_calls_to_an_overloaded_server_are_repeated(busy: tuple[str, list[int]]) -> None:
    from prefect import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    url, left = busy
    with temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 2}):
        left[0] = 20
        with wait_for_overloaded_servers(), get_client(sync_client=True) as client:
            assert client.api_version() == "3.8.0"
        left[0] = 20
        with get_client(sync_client=True) as client, pytest.raises(PrefectHTTPStatusError, match="503"):
            client.api_version()


def test_server_that_stays_overloaded_is_given_up(
    busy: tuple[str, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    url, left = busy
    left[0] = 1_000_000
    monkeypatch.setattr("tasks.launcher.api_client.OVERLOAD_SECONDS", 0.2)
    with (
        temporary_settings({PREFECT_API_URL: url, PREFECT_CLIENT_MAX_RETRIES: 0}),
        wait_for_overloaded_servers(),
        get_client(sync_client=True) as client,
        pytest.raises(PrefectHTTPStatusError, match="503"),
    ):
        client.api_version()


def test_unused_port_is_refused_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert check_server(f"http://127.0.0.1:{port}/api").state == "missing"
