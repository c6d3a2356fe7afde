"""Test runs with private servers: concurrent runs, unusual homes, and the secrecy of the password."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.engine.processes import find_processes, wait_until, wait_until_gone
from tests.launcher.test_api import find_listening_addresses
from tests.runs.bench import Bench, FlowProcess

_LOOPBACK = {"0100007F"}


@pytest.fixture
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as context:
        yield context


def create_two_item_bench(folder: Path, home: Path, patch: pytest.MonkeyPatch, seconds: float = 0.1) -> Bench:
    """Create a bench with two items, for a run that uses ``home`` and no given server."""
    folder.mkdir()
    bench = Bench(folder, home, None, patch)
    bench.write_manifest(*({"id": name, "do": "take_time", "seconds": seconds} for name in "ab"))
    return bench


def test_concurrent_runs_with_new_shared_and_unwritable_homes(
    tmp_path: Path, prefect_api: str, prefect_home: Path, patch: pytest.MonkeyPatch
) -> None:
    """Test two runs without a database and template, one whose home a real server uses, and one without a home."""
    patch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "file").touch()
    homes = {
        "first": tmp_path / "new",
        "second": tmp_path / "new",
        "shared": prefect_home,
        "unwritable": tmp_path / "file" / "home",
    }
    benches = [create_two_item_bench(tmp_path / name, home, patch) for name, home in homes.items()]
    with ExitStack() as stack:
        flows = [stack.enter_context(bench.start_flow("--workers", 1)) for bench in benches]
        for bench, flow in zip(benches, flows, strict=True):
            code, log = flow.wait(), flow.log.read_text()
            assert code == 0, log
            assert bench.count_items() == (2, 0, 0, 0)
            assert not re.search(r"Traceback|Warning|database is locked", log)
    templates = [path.name for path in (tmp_path / "cache" / "prefect").iterdir()]
    assert len(templates) == 1, templates


def test_password_of_a_run_stays_in_its_server(tmp_path: Path, prefect_home: Path, patch: pytest.MonkeyPatch) -> None:
    """Check command lines, environments of item processes, and listening addresses."""
    bench = create_two_item_bench(tmp_path / "run", prefect_home, patch, seconds=3.0)
    with bench.start_flow("--workers", 2) as flow:
        wait_until(lambda: len(bench.count_tries()) == 2, f"two items at work: {flow.log.read_text()}")
        password_file = find_password_file(flow)
        secret = password_file.read_text().strip()
        processes = find_processes(bench.mark)
        assert any("tasks.engine.running.child" in command for command in processes.values())
        assert not any(secret.partition(":")[2] in command for command in processes.values())
        with_secret = [processes[pid] for pid in processes if secret.encode() in read_environment(pid)]
        assert with_secret
        assert all("api_server" in command for command in with_secret)
        assert set().union(*(find_listening_addresses(pid) for pid in processes)) <= _LOOPBACK
        assert flow.wait() == 0, flow.log.read_text()
    wait_until_gone(bench.mark)
    assert not password_file.parent.exists()
    assert secret.partition(":")[2] not in flow.log.read_text()


def test_unreadable_profile_gives_one_warning(tmp_path: Path, patch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "profiles.toml").mkdir(parents=True)
    bench = create_two_item_bench(tmp_path / "run", home, patch)
    with bench.start_flow("--workers", 1) as flow:
        assert flow.wait() == 0, flow.log.read_text()
    log = flow.log.read_text()
    assert log.count("its profiles are not used") == 1
    assert "Traceback" not in log


def find_password_file(flow: FlowProcess) -> Path:
    """Return the file that the run's log names next to the address of its UI."""
    match = re.search(r"\(password: (.*)\)", flow.log.read_text())
    assert match, flow.log.read_text()
    return Path(match[1])


def read_environment(pid: int) -> bytes:
    """Return the environment that a process was started with; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""
