"""Identities of processes: the values from /proc, and the answer for every state of a process."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tasks.engine.store import liveness
from tasks.engine.store.liveness import ProcessIdentity

TICKS = 4711
SetStatus = Callable[[tuple[str, int, int] | None], None]


@pytest.fixture
def set_status(monkeypatch: pytest.MonkeyPatch) -> SetStatus:
    """Return a function that sets state, threads and start time of every process."""
    return lambda status: monkeypatch.setattr(liveness, "_read_status", lambda pid: status)


def identify(**fields: object) -> ProcessIdentity:
    return replace(ProcessIdentity.mine(), **{"pid": 12345, "start_ticks": TICKS, **fields})


def test_own_identity_names_host_boot_namespaces_and_start() -> None:
    mine = ProcessIdentity.mine()
    assert mine.host == socket.gethostname()
    assert mine.boot_id == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert mine.pid_namespace == str(Path("/proc/self/ns/pid").readlink())
    assert mine.time_namespace == str(Path("/proc/self/ns/time").readlink())
    assert mine.pid == os.getpid()
    ticks_per_second = os.sysconf("SC_CLK_TCK")
    assert mine.start_ticks / ticks_per_second == pytest.approx(
        psutil.Process().create_time() - psutil.boot_time(), abs=2
    )
    assert mine.is_alive() is True


@pytest.mark.parametrize(
    ("state", "threads", "ticks", "is_alive"),
    [
        ("R", 1, TICKS, True),
        ("S", 7, TICKS, True),
        ("T", 1, TICKS, True),
        ("Z", 1, TICKS, False),
        ("Z", 0, TICKS, False),
        ("X", 1, TICKS, False),
        ("x", 1, TICKS, False),
        ("Z", 2, TICKS, True),
        ("R", 1, TICKS + 1, False),
        ("R", 1, TICKS - 1, False),
        ("Z", 2, TICKS + 1, False),
    ],
)
def test_state_threads_and_start_time_decide(
    set_status: SetStatus, state: str, threads: int, ticks: int, is_alive: bool
) -> None:
    set_status((state, threads, ticks))
    assert identify().is_alive() is is_alive


@pytest.mark.parametrize("pid", [1, 2, 2**22])
def test_every_process_number_from_1_is_looked_up(set_status: SetStatus, pid: int) -> None:
    set_status(("S", 1, TICKS))
    assert identify(pid=pid).is_alive() is True


@pytest.mark.parametrize("fields", [{"pid": 0}, {"pid": -1}, {"start_ticks": 0}])
def test_impossible_numbers_give_no_answer(set_status: SetStatus, fields: dict[str, int]) -> None:
    set_status(("S", 1, 0))
    assert identify(**fields).is_alive() is None


@pytest.mark.parametrize(("view", "answer"), [(("", "ns", "t"), None), (("b", "", "t"), None), (("b", "ns", ""), True)])
def test_view_that_is_unknown_on_both_sides_gives_no_answer(
    set_status: SetStatus, monkeypatch: pytest.MonkeyPatch, view: tuple[str, str, str], answer: bool | None
) -> None:
    """Kernels before 5.6 have no time namespaces; an empty one is no obstacle."""
    set_status(("S", 1, TICKS))
    monkeypatch.setattr(liveness, "_view", lambda pid: view if pid == os.getpid() else ("another", "view", ""))
    boot_id, pid_namespace, time_namespace = view
    there = identify(boot_id=boot_id, pid_namespace=pid_namespace, time_namespace=time_namespace)
    assert there.is_alive() is answer


@pytest.mark.parametrize(
    ("error", "answer"), [(None, None), (PermissionError(), None), (ProcessLookupError(), False)], ids=str
)
def test_process_without_status_is_dead_only_if_a_signal_finds_none(
    set_status: SetStatus, monkeypatch: pytest.MonkeyPatch, error: OSError | None, answer: bool | None
) -> None:
    """As if /proc hid the processes of other users."""
    signals: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        signals.append((pid, number))
        if error is not None:
            raise error

    set_status(None)
    monkeypatch.setattr(os, "kill", kill)
    assert identify().is_alive() is answer
    assert signals == [(12345, 0)]


def test_status_of_a_process_with_an_odd_name(tmp_path: Path) -> None:
    """The name of a process is part of /proc/PID/stat and may contain blanks and parentheses."""
    program = tmp_path / "a) Z 1 (b"
    shutil.copy(shutil.which("sleep") or "", program)
    with subprocess.Popen([program, "60"]) as process:
        try:
            status = liveness._read_status(process.pid)
            created = psutil.Process(process.pid).create_time() - psutil.boot_time()
        finally:
            process.kill()
    assert status is not None
    assert status[0] in "RSD"
    assert status[1] == 1
    assert status[2] / os.sysconf("SC_CLK_TCK") == pytest.approx(created, abs=2)


def test_status_counts_threads() -> None:
    before, end = psutil.Process().num_threads(), threading.Event()
    threads = [threading.Thread(target=end.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        status = liveness._read_status(os.getpid())
    finally:
        end.set()
        for thread in threads:
            thread.join()
    assert status is not None
    assert status[1] == before + 3


def test_missing_process_has_no_status() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    assert liveness._read_status(process.pid) is None


@pytest.mark.parametrize("content", [b"", b"1 (x) S 2 3", b"1 (x) S" + b" ?" * 40])
def test_damaged_status_is_none(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda self: content)
    assert liveness._read_status(1) is None


def read_view(monkeypatch: pytest.MonkeyPatch, links: dict[str, str], boot_id: Path) -> tuple[str, str, str]:
    def readlink(path: str) -> str:
        try:
            return links[path]
        except KeyError:
            raise FileNotFoundError(path) from None

    monkeypatch.setattr(os, "readlink", readlink)
    monkeypatch.setattr(liveness, "_BOOT_ID", boot_id)
    return liveness._view.__wrapped__(7)


LINKS = {"/proc/self": "7", "/proc/self/ns/pid": "pid:[1]", "/proc/self/ns/time": "time:[2]"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ("boot", "pid:[1]", "time:[2]")),
        ({"/proc/self": "8"}, ("", "", "")),
        ({"/proc/self": "self"}, ("", "", "")),
        ({"/proc/self": None}, ("", "", "")),
        ({"/proc/self/ns/pid": None}, ("", "", "")),
        ({"/proc/self/ns/time": None}, ("boot", "pid:[1]", "")),
    ],
)
def test_view_is_empty_unless_numbers_in_proc_are_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, str | None], expected: tuple[str, str, str]
) -> None:
    boot_id = tmp_path / "boot_id"
    boot_id.write_text("boot\n")
    links = {path: link for path, link in {**LINKS, **change}.items() if link is not None}
    assert read_view(monkeypatch, links, boot_id) == expected
    assert read_view(monkeypatch, links, tmp_path / "missing") == ("", "", "")


def test_own_start_time_is_unknown_if_proc_shows_other_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "_view", lambda pid: ("", "", ""))
    assert ProcessIdentity.mine().start_ticks == 0
    monkeypatch.setattr(liveness, "_view", lambda pid: ("boot", "ns", ""))
    assert ProcessIdentity.mine().start_ticks > 0


def test_own_start_time_is_unknown_without_status(set_status: SetStatus) -> None:
    set_status(None)
    assert ProcessIdentity.mine().start_ticks == 0
