"""Kill a run together with its watchdog: the next run ends only the orphans of its items."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import StageResult, Workspace
from tasks.engine.maintenance import apply, plan_sweep
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.run import open_output_dir
from tasks.engine.running import watchdog
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.lease import run_shard
from tasks.engine.running.orphans import note_dead_marks, note_mark, read_marks
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.running.watchdog import build_watched_environment, end_marked, new_mark, set_mark
from tasks.engine.store.layout import Layout
from tests.engine.faults import FaultParams, FaultStage
from tests.engine.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]

# Forks and exits repeatedly, so that its pid changes all the time; ends after half a minute.
HOP = """
import os, time
end = time.monotonic() + 30
while time.monotonic() < end:
    time.sleep(0.02)
    if os.fork():
        os._exit(0)
"""
# argv: the output folder, and a word on the command lines of all orphans.
RUN = """
import sys
from pathlib import Path
from tests.engine.test_orphans import run_items
run_items(Path(sys.argv[1]), sys.argv[2])
"""


# A process with its own watchdog, as a flow has; its argument is the file for its child's id.
NESTED = """
import os, subprocess, sys, time
from tasks.engine.running.watchdog import build_watched_environment
environment = {**os.environ, **build_watched_environment()}
child = subprocess.Popen(["sleep", "3600"], env=environment, start_new_session=True)
with open(sys.argv[1], "w") as file:
    file.write(str(child.pid))
time.sleep(3600)
"""


ORPHANS = 5  # of an item of this stage, that have the word on their command lines


class OrphanStage(FaultStage):
    """Stage whose item starts orphans and runs forever."""

    name = "orphans"

    def run(self, item: Item, work: Workspace) -> StageResult:
        word = item.payload["word"]
        for command in (
            ["sh", "-c", f"exec sh -c 'sleep 3600; : {word}'"],
            ["setsid", "sh", "-c", f"(sh -c 'sleep 3600; : {word}' &) ; sleep 3600; : {word}"],
            ["env", "-i", "setsid", "sh", "-c", f"(sh -c 'sleep 3600; : {word}' &) ; sleep 3600; : {word}"],
        ):
            subprocess.Popen(command, start_new_session=True)
        signal.pause()
        raise AssertionError("woke up")


def run_items(output_dir: Path, word: str) -> None:
    """Run an item that leaves orphans, as a flow does."""
    layout = Layout(output_dir)
    with open_output_dir(layout, "first") as lock:
        context = RunContext("first", output_dir, Limits(600, 1 << 30), 1, lock_token=lock.owner.token)
        items = (PlannedItem(Item("a", {"word": word}), "key", 0),)
        run_shard(ShardOrder(context, OrphanStage(FaultParams()), items), lambda _: None)


def find_with_word(word: str) -> dict[int, list[str]]:
    """Return the processes with ``word`` on their command lines, without the run and its watchdog."""
    return {
        process.pid: process.info["cmdline"]
        for process in psutil.process_iter(["cmdline"])
        if word in " ".join(process.info["cmdline"] or ()) and "run_items" not in " ".join(process.info["cmdline"])
    }


@pytest.fixture
def word() -> Iterator[str]:
    """Yield a word for command lines; kill the processes that have it afterwards."""
    unique_word = f"orphan-{uuid.uuid4().hex}"
    yield unique_word
    for pid in find_with_word(unique_word):
        os.kill(pid, signal.SIGKILL)


def kill_run_and_watchdog(output_dir: Path, word: str) -> None:
    """Start a run, and kill it with its watchdog once its item has started all orphans."""
    with subprocess.Popen([sys.executable, "-c", RUN, str(output_dir), word], cwd=ROOT) as run:
        try:
            wait_until(lambda: len(find_with_word(word)) == ORPHANS, "the orphans")
            (watchdog,) = (p for p in psutil.Process(run.pid).children() if p.cmdline()[-1].endswith("watchdog.py"))
            watchdog.suspend()
            watchdog.kill()
        finally:
            run.kill()


def test_next_run_ends_orphans(tmp_path: Path, word: str) -> None:
    kill_run_and_watchdog(tmp_path, word)
    assert len(find_with_word(word)) == ORPHANS
    said: list[str] = []
    with open_output_dir(Layout(tmp_path), "second", said.append):
        assert find_with_word(word) == {}
    (line,) = said
    assert line.startswith("ended ")
    assert line.endswith("processes that an earlier run had left running")


def test_manual_sweep_ends_orphans(tmp_path: Path, word: str) -> None:
    kill_run_and_watchdog(tmp_path, word)
    layout = Layout(tmp_path)
    said: list[str] = []
    apply(layout, plan_sweep(layout), said.append)
    assert find_with_word(word) == {}
    assert len(said) == 1


def test_orphan_that_forks_and_exits_repeatedly_is_ended(word: str) -> None:
    mark = new_mark()
    environment = {**os.environ, **build_watched_environment(mark)}
    subprocess.Popen([sys.executable, "-c", HOP, word], env=environment).wait()  # its forks follow
    assert end_marked({mark}) >= 1
    assert find_with_word(word) == {}


def test_orphan_that_does_not_end_is_reported_in_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Emulate a process that the kernel blocks: the signal is sent, but it stays."""
    mark, said = new_mark(), list[str]()
    monkeypatch.setattr(watchdog._Signs, "kill", lambda self, pid: True)
    monkeypatch.setattr(watchdog, "_KILL_SECONDS", 0.1)
    with start_marked(mark) as process:
        try:
            assert end_marked({mark}, said.append) == 1
            assert end_marked({mark}) == 1
        finally:
            process.kill()
    line = f"1 process of a dead run did not end within 0.1 s: {process.pid}; look at them with ps"
    assert said == [line]
    assert capfd.readouterr().err == f"{line}\n"


def start_marked(mark: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "3600"], env={**os.environ, **build_watched_environment(mark)})


def is_running(process: subprocess.Popen[bytes]) -> bool:
    return process.poll() is None


@pytest.fixture
def others() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


def test_other_runs_of_the_same_process_continue(tmp_path: Path, others: list[subprocess.Popen[bytes]]) -> None:
    """A cluster's worker may serve two flows, one of which was killed."""
    dead, alive = new_mark(), new_mark()
    others += [start_marked(dead), start_marked(alive)]
    write_mark(tmp_path / "one", dead)
    write_mark(tmp_path / "two", alive)
    with open_output_dir(Layout(tmp_path / "one"), "second"):
        others[0].wait(10)
    assert is_running(others[1])


def write_mark(output_dir: Path, mark: str, run_id: str = "first") -> Path:
    private = Layout(output_dir).private / run_id
    private.mkdir(parents=True)
    note_mark(private, mark)
    return private


@pytest.mark.parametrize("link", ["run", "marks", "mark"])
def test_marks_behind_symlinks_are_ignored(tmp_path: Path, link: str, others: list[subprocess.Popen[bytes]]) -> None:
    """A user with write access to one output folder must not end the items of a run in another."""
    mark = new_mark()
    others.append(start_marked(mark))
    elsewhere = write_mark(tmp_path / "alive", mark)
    private = Layout(tmp_path / "out").private
    private.mkdir(parents=True)
    if link == "run":
        (private / "first").symlink_to(elsewhere)
    elif link == "marks":
        (private / "first").mkdir()
        (private / "first/marks").symlink_to(elsewhere / "marks")
    else:
        (private / "first/marks").mkdir(parents=True)
        (private / "first/marks" / mark).symlink_to(elsewhere / "marks" / mark)
    assert read_marks(private / "first") == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the owner of files")
def test_marks_of_another_user_are_ignored(tmp_path: Path) -> None:
    private = write_mark(tmp_path, new_mark())
    (mark,) = (private / "marks").iterdir()
    assert read_marks(private) == {mark.name}
    os.chown(mark, 12345, 12345)
    assert read_marks(private) == set()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start processes of other users")
def test_processes_of_another_user_are_not_ended(others: list[subprocess.Popen[bytes]]) -> None:
    mark = new_mark()
    environment = {**os.environ, **build_watched_environment(mark)}
    others.append(subprocess.Popen(["sleep", "3600"], env=environment, user=12345))
    assert end_marked({mark}) == 0
    assert is_running(others[0])


def test_names_that_are_no_marks_do_not_count(tmp_path: Path) -> None:
    private = write_mark(tmp_path, new_mark())
    for name in ("", "x" * 32, "0" * 31, "0" * 33):
        (private / "marks" / f"{name}~").touch()
    assert len(read_marks(private)) == 1


def test_marks_outlive_a_run_that_was_killed_before_its_workers_looked(tmp_path: Path) -> None:
    private = write_mark(tmp_path, own := new_mark(), "second")
    note_dead_marks(private, {earlier := new_mark()})
    with open_output_dir(Layout(tmp_path), "third"):
        assert read_marks(Layout(tmp_path).private / "third") == {own, earlier}


def test_worker_of_the_next_run_ends_orphans_on_its_host(tmp_path: Path, others: list[subprocess.Popen[bytes]]) -> None:
    mark = new_mark()
    others.append(start_marked(mark))
    private = Layout(tmp_path).private / "second"
    private.mkdir(parents=True)
    note_dead_marks(private, {mark})
    context = RunContext("second", tmp_path, Limits(60, 1 << 30))
    items = (PlannedItem(Item("a"), "key", 0),)
    try:
        run_shard(ShardOrder(context, FaultStage(FaultParams()), items), lambda _: None)
    finally:
        close_slots("second")
    others[0].wait(10)


def test_mark_in_resource_limits_works_without_an_environment(
    monkeypatch: pytest.MonkeyPatch, others: list[subprocess.Popen[bytes]]
) -> None:
    mark = new_mark()
    monkeypatch.setenv("HEADRACE_KEPT", mark)
    others.append(subprocess.Popen(["sleep", "3600"], env={}, preexec_fn=set_mark))  # noqa: PLW1509
    assert end_marked({new_mark()}) == 0
    assert is_running(others[0])
    assert end_marked({mark}) == 1
    others[0].wait(10)


def test_outer_watchdog_leaves_the_children_of_a_flow_to_its_own_watchdog(tmp_path: Path) -> None:
    mark, path = new_mark(), tmp_path / "child"
    environment = {**os.environ, **build_watched_environment(mark)}
    with subprocess.Popen([sys.executable, "-c", NESTED, path], env=environment, cwd=ROOT):
        wait_until(lambda: path.exists() and path.read_text(), "the child of the flow")
        child = psutil.Process(int(path.read_text()))
        assert end_marked({mark}) == 1  # the flow, and not its watchdog
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the end of the child")
