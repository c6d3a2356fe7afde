"""The supervisor of `headrace serve` with small programs: order, restarts, its end, and its state folder."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.supervision.addresses import Address, choose_address
from deployments.supervision.folder import StateFolder, hold_state_folder
from deployments.supervision.parts import Part, build_base_environment
from deployments.supervision.supervisor import Policy, Supervisor
from tasks.engine.contract.errors import InvalidInput, RunError

QUICK = Policy(first_wait=0.01, max_wait=0.02, max_ends=3, stop_seconds=0.5)
SLEEP = "import time; time.sleep(600)"


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFolder]:
    with hold_state_folder(tmp_path / "state") as folder:
        yield folder


def make_part(key: str, code: str, **options: object) -> Part:
    return Part(key, key, (sys.executable, "-c", code), {}, **options)  # type: ignore[arg-type]


async def run_parts(state: StateFolder, parts: list[Part], stops: bool = True) -> tuple[list[str], list[str]]:
    """Run parts until all are ready, or one fails; return what was said, and the order of their starts."""
    said, started = list[str](), list[str]()

    async def note(part: Part) -> None:
        started.append(part.key)

    stop = asyncio.Event()
    supervisor = Supervisor(parts, state, state.path, said.append, note, QUICK)
    async with asyncio.timeout(60):
        await supervisor.run(stop.set if stops else lambda: None, stop)
    return said, started


def find_children() -> list[str]:
    """Return the ids of this process's children, without those that have ended."""
    tasks = Path(f"/proc/{os.getpid()}/task")
    return [pid for thread in tasks.iterdir() for pid in (thread / "children").read_text().split()]


def test_parts_start_in_order_and_end_together(state: StateFolder) -> None:
    done = state.path / "done"
    write = make_part("once", f"open({str(done)!r}, 'w')", ends=True)
    parts = [make_part("first", SLEEP), write, make_part("last", SLEEP, is_ready=done.exists)]
    before = set(find_children())
    said, started = asyncio.run(run_parts(state, parts))
    assert (said, started) == ([], ["first", "once", "last"])
    assert done.exists()
    assert len(set(find_children()) - before) <= 1  # the watchdog of this process


def test_part_that_ends_is_started_again(state: StateFolder) -> None:
    path = state.path / "starts"
    count = f"f = open({str(path)!r}, 'a+'); f.write('x'); f.flush(); f.seek(0); n = len(f.read())"
    code = f"{count}; n < 3 and exit(7); {SLEEP}"
    part = make_part("part", code, is_ready=lambda: path.exists() and path.stat().st_size == 3)
    said, _ = asyncio.run(run_parts(state, [part]))
    assert said == [
        "the part ended (exit code 7); starting it again in 0.01 s",
        "the part ended (exit code 7); starting it again in 0.02 s",
    ]


@pytest.mark.parametrize("ends", [False, True])
def test_part_that_fails_repeatedly_ends_everything_with_one_line(state: StateFolder, ends: bool) -> None:
    failing = make_part("part", "print('one'); print('the reason'); exit(4)", ends=ends)
    other = make_part("other", SLEEP)
    with pytest.raises(RunError) as caught:
        asyncio.run(run_parts(state, [other, failing], stops=False))
    ending = "the part ended 3 times in a row, the last time with exit code 4: the reason"
    assert str(caught.value) == f"{ending}; see {state.get_log('part')}"


LEAVING = """
import os, subprocess, sys, time
from pathlib import Path
name = "again" if Path("left").exists() else "left"
code = f"import os, time; open('{name}', 'w').write(str(os.getpid())); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
while not Path(name).exists():
    time.sleep(0.01)
if name == "left":
    os.kill(os.getpid(), 9)
time.sleep(600)
"""


def test_killed_part_leaves_no_process(state: StateFolder) -> None:
    """A part ends with its descendants, also those in a session of their own."""
    part = make_part("part", LEAVING, is_ready=(state.path / "again").exists)
    said, _ = asyncio.run(run_parts(state, [part]))
    assert said == ["the part ended (signal 9); starting it again in 0.01 s"]
    for name in ("left", "again"):
        assert not is_running((state.path / name).read_text())


def is_running(pid: str) -> bool:
    """Return True if the process is no zombie: nobody may be there to reap an orphan."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_stubborn_part_is_killed(state: StateFolder) -> None:
    path = state.path / "deaf"
    code = f"import signal; signal.signal(15, signal.SIG_IGN); open({str(path)!r}, 'w'); {SLEEP}"
    asyncio.run(run_parts(state, [make_part("part", code, is_ready=path.exists)]))


def test_password_is_private_and_kept(state: StateFolder) -> None:
    password = state.read_password()
    assert password.startswith("headrace:")
    assert len(password) > 40
    assert state.read_password() == password
    assert stat.S_IMODE(state.users.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.path.stat().st_mode) == 0o700
    state.users.write_text(f"# more users\nanna:token-of-anna-0123456789\n{password}\n")
    assert state.read_password() == password


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [
        ("headrace:token-of-headrace-0123", 0o644, "can be read by others"),
        ("anna:token-of-anna-0123456789", 0o600, "has no line of the user headrace"),
        ("headrace:short", 0o600, "is invalid"),
    ],
)
def test_unusable_password_is_one_line(state: StateFolder, content: str, mode: int, words: str) -> None:
    state.users.write_text(content)
    state.users.chmod(mode)
    with pytest.raises(RunError, match=words) as caught:
        state.read_password()
    assert str(state.users) in str(caught.value)


def test_ports_are_free_or_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        with pytest.raises(InvalidInput, match=f"--port {port}: is in use"):
            choose_address("127.0.0.1", port, 1, "--port")
        assert choose_address("127.0.0.1", None, port, "--port").port != port
    assert choose_address("127.0.0.1", port, 1, "--port") == Address("127.0.0.1", port)
    with pytest.raises(InvalidInput, match="is in use"):
        choose_address("127.0.0.1", port, 1, "--port", taken=port)
    with pytest.raises(InvalidInput, match=r"--host 192\.0\.2\.1"):
        choose_address("192.0.2.1", None, port, "--port")


def test_addresses_of_wildcards_can_be_opened() -> None:
    assert Address("0.0.0.0", 80).local_url == "http://127.0.0.1:80"
    assert Address("0.0.0.0", 80).public_url == f"http://{socket.gethostname()}:80"
    assert Address("::", 80).local_url == "http://[::1]:80"
    assert Address("127.0.0.2", 80).public_url == "http://127.0.0.2:80"


def test_settings_of_other_servers_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://other")
    monkeypatch.setenv("PREFECT_SERVER_DATABASE_CONNECTION_URL", "other")
    monkeypatch.setenv("PREFECT_WORKER_QUERY_SECONDS", "1")
    environment = build_base_environment()
    assert {name for name in environment if name.startswith("PREFECT_")} >= {"PREFECT_WORKER_QUERY_SECONDS"}
    assert not {"PREFECT_API_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"} & environment.keys()
