"""Test the lock of an output folder: one run at a time, dead owners are replaced, owners that lost it stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.engine.contract.errors import LockLost, RunError
from tasks.engine.run import open_output_dir
from tasks.engine.store import lock as lock_module
from tasks.engine.store.layout import Layout
from tasks.engine.store.liveness import ProcessIdentity
from tasks.engine.store.lock import SECONDS_VARIABLE, Owner, check_lock, hold_lock
from tests.engine.containers import CONTAINER, FOREIGN_PROC, add_clock_step, require_containers
from tests.engine.processes import ROOT, child_environment, wait_until

QUICK = 1.0  # seconds of silence after which an owner counts as dead
PATIENT = 24.0  # it refreshes its lock every other second

# argv: the lock, the run. Holds the lock until its standard input closes, and prints what happens.
HOLD = """
import sys
from pathlib import Path
from tasks.engine.contract.errors import RunError
from tasks.engine.store.lock import hold_lock
try:
    with hold_lock(Path(sys.argv[1]), sys.argv[2], lambda line: print("waits:", line, flush=True)) as lock:
        print("held", flush=True)
        sys.stdin.read()
        lock.check()
except RunError as error:
    print("error:", error, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / ".headrace"
    folder.mkdir(parents=True)
    return folder / "lock"


class Holder:
    """Process that tries to hold a lock."""

    def __init__(self, path: Path, run_id: str, prefix: Sequence[str] = (), seconds: float = PATIENT) -> None:
        command = [*prefix, sys.executable, "-c", HOLD, str(path), run_id]
        variables = child_environment(**{SECONDS_VARIABLE: str(seconds)})
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables, cwd=ROOT
        )

    def read_line(self) -> str:
        """Return its next line of output."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def signal(self, number: int) -> None:
        """Send a signal to the process that holds the lock, which may be the child of a container's process."""
        within = psutil.Process(self.process.pid).children() or [self.process]
        within[0].send_signal(number)

    def end(self) -> list[str]:
        """Let it release the lock; return its remaining output."""
        said, _ = self.process.communicate()
        return [line for line in said.splitlines() if line]

    def kill(self) -> None:
        """Kill it."""
        with contextlib.suppress(psutil.Error, ProcessLookupError):
            self.signal(signal.SIGKILL)
        self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def holder(path: Path, run_id: str = "other", prefix: Sequence[str] = (), seconds: float = PATIENT) -> Iterator[Holder]:
    held = Holder(path, run_id, prefix, seconds)
    try:
        yield held
    finally:
        held.kill()


def contend(path: Path, prefix: Sequence[str] = (), seconds: float = PATIENT) -> list[str]:
    """Try to get the lock in another process; return its output."""
    return Holder(path, "contender", prefix, seconds).end()


def read_owner(path: Path) -> Owner:
    owner = Owner.decode(path.read_bytes())
    assert owner is not None
    return owner


def write_lock(path: Path, owner: Owner, seconds: float = QUICK) -> None:
    path.write_bytes(replace(owner, seconds=seconds).encode())


def test_second_run_names_the_owner(path: Path) -> None:
    with holder(path) as held:
        assert held.read_line() == "held"
        said = rf"in use by run other, process {held.process.pid} on .*another --output-dir"
        with pytest.raises(RunError, match=said), hold_lock(path, "mine"):
            pass
    assert read_owner(path).run_id == "other"


@pytest.mark.parametrize("reaped", [True, False], ids=["reaped", "zombie"])
def test_lock_of_a_killed_run_is_taken_over_immediately(path: Path, reaped: bool) -> None:
    with holder(path) as held:
        assert held.read_line() == "held"
        held.signal(signal.SIGKILL)
        os.waitid(os.P_PID, held.process.pid, os.WEXITED | (0 if reaped else os.WNOWAIT))
        waits: list[str] = []
        with hold_lock(path, "mine", waits.append):
            assert read_owner(path).run_id == "mine"
        assert waits == []
    assert list(path.parent.iterdir()) == []


def test_process_that_reuses_the_pid_of_a_dead_owner_is_not_the_owner(path: Path) -> None:
    process = ProcessIdentity.mine()
    write_lock(path, replace(Owner.mine("old"), process=replace(process, start_ticks=process.start_ticks - 1)), 600)
    with hold_lock(path, "mine"):
        assert read_owner(path).run_id == "mine"


@pytest.mark.parametrize("field", ["host", "boot_id", "pid_namespace", "time_namespace"])
def test_liveness_of_an_owner_elsewhere_is_unknown(field: str) -> None:
    """A process here may share its pid and start time by chance."""
    mine = ProcessIdentity.mine()
    assert mine.is_alive() is True
    assert replace(mine, start_ticks=1).is_alive() is False
    for there in (mine, replace(mine, start_ticks=1)):
        assert replace(there, **{field: "another"}).is_alive() is None


@pytest.mark.parametrize("damaged", ["boot_id", "pid_namespace", "start_ticks", "pid"])
def test_liveness_of_an_incomplete_owner_is_unknown(damaged: str) -> None:
    empty = 0 if damaged in ("start_ticks", "pid") else ""
    assert replace(ProcessIdentity.mine(), **{damaged: empty}).is_alive() is None


@pytest.mark.parametrize("mtime", [1.0, time.time() + 1e6], ids=["clock behind", "clock ahead"])
@pytest.mark.parametrize("content", ["owner elsewhere", "torn", "of another version"])
def test_silent_lock_is_taken_over_after_a_wait_for_any_mtime(
    path: Path, mtime: float, content: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content == "owner elsewhere":
        write_lock(path, replace(Owner.mine("far"), process=replace(ProcessIdentity.mine(), host="elsewhere")))
    else:
        path.write_text("{" if content == "torn" else '{"run_id": "x", "host": "y", "pid": 1, "created": 1.0}')
    os.utime(path, (mtime, mtime))
    monkeypatch.setenv(SECONDS_VARIABLE, str(QUICK))
    waits: list[str] = []
    begun = time.monotonic()
    with hold_lock(path, "mine", waits.append):
        assert read_owner(path).run_id == "mine"
    assert time.monotonic() - begun >= QUICK * 0.9
    assert len(waits) == 1
    assert "waiting up to 1 s for a sign of life" in waits[0]


def test_owner_decides_how_long_it_may_be_silent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A contender with a shorter setting must not be faster than the owner's refresh."""
    far = replace(Owner.mine("far"), process=replace(ProcessIdentity.mine(), host="elsewhere"))
    write_lock(path, far, seconds=2.0)
    monkeypatch.setenv(SECONDS_VARIABLE, "0.5")
    begun = time.monotonic()
    with hold_lock(path, "mine"):
        assert time.monotonic() - begun >= 1.8


@pytest.mark.parametrize("given", ["0", "-1", "nan", "inf", "soon", "1e9"])
def test_invalid_lock_seconds_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, given)
    with (
        pytest.raises(RunError, match=rf"HEADRACE_LOCK_SECONDS: '{given}'; allowed: a number from"),
        hold_lock(path, "x"),
    ):
        pass
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("inside", "outside"),
    [(CONTAINER, ()), ((), CONTAINER), (CONTAINER, CONTAINER), (FOREIGN_PROC, ()), (FOREIGN_PROC, FOREIGN_PROC)],
    ids=[
        "owner in a container",
        "contender in one",
        "both in their own",
        "owner with the host's /proc",
        "both with it",
    ],
)
def test_live_run_in_a_container_keeps_its_lock(path: Path, inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    require_containers()
    with holder(path, "other", inside) as held:
        assert held.read_line() == "held"
        waits, refusal = contend(path, outside)
        assert waits.startswith("waits: ")
        assert "which cannot be looked up from here: waiting up to 24 s for a sign of life" in waits
        assert "is in use by run other" in refusal
        assert held.end() == []  # it never lost its lock


def test_lock_of_a_run_that_died_in_a_container_is_taken_over(path: Path) -> None:
    require_containers()
    with holder(path, "other", CONTAINER, seconds=QUICK) as held:
        assert held.read_line() == "held"
        held.signal(signal.SIGKILL)
        held.process.wait()
        waits, taken = contend(path)
    assert "waiting up to 1 s for a sign of life" in waits
    assert taken == "held"


@pytest.mark.parametrize("step_seconds", [2, -2, 3600])
def test_owner_survives_a_step_of_the_wall_clock(path: Path, tmp_path: Path, step_seconds: int) -> None:
    require_containers()
    with hold_lock(path, "other") as held:
        looked_up = [sys.executable, "-c", f"import psutil; print(psutil.Process({os.getpid()}).create_time())"]
        stepped = add_clock_step(step_seconds, str(tmp_path / "stat"), looked_up)
        created = float(subprocess.run(stepped, capture_output=True, check=True).stdout)
        assert abs(created - psutil.Process().create_time() - step_seconds) < 0.5, "the step was not seen"
        prefix = add_clock_step(step_seconds, str(tmp_path / "stat"), [])
        (refusal,) = contend(path, prefix)
        assert "is in use by run other" in refusal
        held.check()


def test_owner_that_was_paused_too_long_notices_the_loss(path: Path) -> None:
    require_containers()
    with holder(path, "paused", CONTAINER, seconds=QUICK) as held:
        assert held.read_line() == "held"
        held.signal(signal.SIGSTOP)
        with hold_lock(path, "mine"):
            held.signal(signal.SIGCONT)
            (said,) = held.end()
            assert "error: this run has lost its lock" in said
            assert "it is held by run mine" in said
            assert read_owner(path).run_id == "mine"


def test_owner_that_was_paused_without_contender_continues(path: Path) -> None:
    with holder(path, seconds=QUICK) as held:
        assert held.read_line() == "held"
        held.signal(signal.SIGSTOP)
        time.sleep(QUICK)  # no event shows from outside that the silence is long enough
        held.signal(signal.SIGCONT)
        assert held.end() == []
    assert not path.exists()


def lose(path: Path, how: str) -> None:
    if how == "gone":
        path.unlink()
    elif how == "damaged":
        path.write_text("{")
    else:
        other = path.with_name("other")
        other.write_bytes(Owner.mine("other").encode())
        other.replace(path)


@pytest.mark.parametrize("how", ["gone", "damaged", "another's"])
def test_owner_notices_that_it_lost_its_lock(path: Path, how: str) -> None:
    with hold_lock(path, "mine") as held:
        check_lock(path, held.owner.token)
        lose(path, how)
        reason = {"gone": "it is gone", "damaged": "held by another run", "another's": "held by run other, process"}
        for _ in range(2):
            with pytest.raises(LockLost, match=reason[how]):
                held.check()
        with pytest.raises(LockLost):
            check_lock(path, held.owner.token)
    assert path.exists() is (how != "gone"), "it removed another run's lock"


def test_other_process_of_the_run_notices_the_lost_lock(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tasks.engine.store.lock import check_lock;"
        "check_lock(Path(sys.argv[1]), sys.argv[2])"
    )
    with hold_lock(path, "mine") as held:
        command = [sys.executable, "-c", code, str(path), held.owner.token]
        subprocess.run(command, check=True, cwd=ROOT)
        lose(path, "another's")
        failed = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
        assert "LockLost: this run has lost its lock" in failed.stderr


def test_refresh_thread_notices_the_lost_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, str(QUICK))
    with hold_lock(path, "mine") as held:
        losses: list[LockLost] = []
        held.on_loss = losses.append
        lose(path, "another's")
        wait_until(lambda: losses, "the loss")


def test_refresh_thread_touches_only_its_own_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, str(QUICK))
    with hold_lock(path, "mine"):
        os.utime(path, (1.0, 1.0))
        wait_until(lambda: path.stat().st_mtime > 1000, "a beat")
        lose(path, "another's")
        os.utime(path, (1.0, 1.0))
        time.sleep(QUICK / 4)  # three beats, of which none may come here
        assert path.stat().st_mtime == 1.0


def test_owner_that_refreshes_at_the_last_moment_keeps_its_lock(path: Path) -> None:
    """It changes the file between the contender's last look and its rename."""
    with hold_lock(path, "mine") as held:
        look = lock_module._look(path)
        assert look is not None
        held._touch()
        lock_module._remove_dead(path, look)
        held.check()
    assert list(path.parent.iterdir()) == []


def test_owner_that_refreshes_too_late_loses_its_lock(path: Path) -> None:
    with hold_lock(path, "mine") as held:
        look = lock_module._look(path)
        assert look is not None
        lock_module._remove_dead(path, look)
        with pytest.raises(LockLost, match="it is gone"):
            held.check()


def test_lock_that_cannot_be_refreshed_is_lost(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no connection")

    monkeypatch.setenv(SECONDS_VARIABLE, str(QUICK))
    with hold_lock(path, "mine") as held:
        monkeypatch.setattr(lock_module, "_set_time", fail)
        wait_until(held._is_stale, "a silence that is too long")
        with pytest.raises(LockLost, match="could not be refreshed in time"):
            held.check()


def test_lock_works_without_hard_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    with hold_lock(path, "mine"), pytest.raises(RunError), hold_lock(path, "another"):
        pass
    assert list(path.parent.iterdir()) == []


def test_lock_works_without_setting_mtimes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setenv(SECONDS_VARIABLE, str(QUICK))
    with hold_lock(path, "mine") as held:
        os.utime(path, (1.0, 1.0))
        monkeypatch.setattr(os, "utime", refuse)
        wait_until(lambda: path.stat().st_mtime > 1000, "a beat")
        held.check()


def test_symlink_in_place_of_the_lock_is_not_followed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, "0.5")
    target = path.parents[2] / "target"
    target.write_text("precious")
    path.symlink_to(target)
    with hold_lock(path, "mine"):
        assert not path.is_symlink()
    assert target.read_text() == "precious"


def test_text_of_a_hostile_lock_is_escaped(path: Path) -> None:
    write_lock(path, replace(Owner.mine("\x1b]0;owned\x07\n"), token="x"), 600)
    with pytest.raises(RunError, match=r"in use by run \?\]0;owned\?\?, process"), hold_lock(path, "mine"):
        pass


@pytest.mark.parametrize("number", [-1, 0, 2**31, 10**30, 1.5, None, "1"])
def test_lock_with_an_invalid_pid_has_no_live_owner(path: Path, number: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, "0.5")
    write_lock(path, replace(Owner.mine("x"), process=replace(ProcessIdentity.mine(), pid=number)), 0.5)
    with hold_lock(path, "mine"):
        pass


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a filesystem without space for a file's content."""
    folder = tmp_path / "disk"
    (folder / "out").mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root may mount a small filesystem")
    fill(folder)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / "filler").open("wb") as stream:
        while True:
            stream.write(bytes(4096))
            stream.flush()


def test_full_disk_gives_one_message_and_leaves_no_lock(full_disk: Path) -> None:
    layout = Layout(full_disk / "out")
    with (
        pytest.raises(RunError, match=r"cannot write to .*: the disk is full") as refused,
        open_output_dir(layout, "mine"),
    ):
        pass
    assert "\n" not in str(refused.value)
    assert [path.name for path in layout.state_folder.iterdir()] == ["private"]


def test_full_disk_without_hard_links_leaves_no_torn_lock(full_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(lock_module, "_write", lambda *_: None)  # to get past it
    with pytest.raises(OSError, match="No space left"), hold_lock(full_disk / "lock", "mine"):
        pass
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


def test_lock_is_kept_on_a_disk_that_becomes_full(full_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, "0.5")
    (full_disk / "filler").unlink()
    with hold_lock(full_disk / "lock", "mine") as held:
        fill(full_disk)
        before = held._touched_at
        wait_until(lambda: held._touched_at > before, "a beat")
        held.check()
    assert [path.name for path in full_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("name", [".lock.0123456789ab", ".lock.0123456789ab.tmp", ".lock.0123456789ab.dead"])
def test_next_run_sweeps_leftovers_of_locks(tmp_path: Path, name: str) -> None:
    """Names of earlier versions are among them."""
    layout = Layout(tmp_path / "out")
    layout.state_folder.mkdir(parents=True)
    (layout.state_folder / name).touch()
    with open_output_dir(layout, "mine"):
        assert sorted(path.name for path in layout.state_folder.iterdir()) == ["lock", "private"]


def _race(path: Path, number: int, start: Any, winners: Any) -> None:
    start.wait()
    try:
        with hold_lock(path, f"run-{number}") as held:
            winners.put(number)
            start.wait()  # hold it until everybody has tried
            held.check()
    except LockLost:
        winners.put(-1)
    except RunError:
        start.wait()


@pytest.mark.parametrize("round_", range(2))
def test_one_of_many_contenders_gets_a_dead_lock(path: Path, round_: int) -> None:
    write_lock(path, replace(Owner.mine("dead"), process=replace(ProcessIdentity.mine(), start_ticks=1)))
    context = get_context("spawn")
    start, winners = context.Barrier(4), context.Queue()
    racers = [context.Process(target=_race, args=(path, number, start, winners)) for number in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert len([winners.get() for _ in range(winners.qsize())]) == 1


def test_lock_excludes_other_threads_of_the_process(path: Path) -> None:
    with hold_lock(path, "mine"), pytest.raises(RunError, match="in use by run mine"), hold_lock(path, "another"):
        pass
