"""The steps of the lock's protocol, one by one, in one process and mostly without waiting."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.engine.contract.errors import LockLost, RunError
from tasks.engine.store import lock as lock_module
from tasks.engine.store.liveness import ProcessIdentity
from tasks.engine.store.lock import SECONDS_VARIABLE, Lock, Owner, check_lock, claim_lock, hold_lock
from tests.engine.processes import wait_until


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / ".headrace"
    folder.mkdir(parents=True)
    return folder / "lock"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time of the lock's clock as a list of one number, which a test may change."""
    now = [1000.0]

    def read(kind: int) -> float:
        assert kind == lock_module.CLOCK
        return now[0]

    monkeypatch.setattr(lock_module.time, "clock_gettime", read)
    return now


class Watch:
    """A watcher's clock: sleeping moves it on, and ``on_sleep`` may change the lock meanwhile."""

    def __init__(self) -> None:
        self.now = 50.0
        self.sleeps: list[float] = []
        self.extra: dict[int, float] = {}  # seconds for which the process is paused during that sleep

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds + self.extra.get(len(self.sleeps), 0.0)
        self.on_sleep(len(self.sleeps))

    def on_sleep(self, number: int) -> None:
        """Do nothing."""


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch()
    monkeypatch.setattr(lock_module.time, "monotonic", lambda: made.now)
    monkeypatch.setattr(lock_module.time, "sleep", made.sleep)
    return made


def make_far_owner(run_id: str = "far", folder: str = "", seconds: float = 6.0) -> Owner:
    """Return an owner on another machine, which cannot be looked up."""
    owner = Owner.mine(run_id, folder)
    return replace(owner, process=replace(owner.process, host="elsewhere", pid=7), seconds=seconds)


def make_dead_owner(run_id: str = "dead", folder: str = "") -> Owner:
    owner = Owner.mine(run_id, folder)
    return replace(owner, process=replace(owner.process, start_ticks=1))


def look_at(path: Path) -> Any:
    look = lock_module._look(path)
    assert look is not None
    return look


# Owners


def test_owner_is_this_process_with_a_new_token() -> None:
    owner, other = Owner.mine("run", "folder"), Owner.mine("run")
    assert (owner.run_id, owner.folder, owner.process, owner.seconds) == ("run", "folder", ProcessIdentity.mine(), 60.0)
    assert other.folder == ""
    assert owner.token != other.token
    assert len(owner.token) == 32
    assert int(owner.token, 16)


def test_owner_survives_encoding() -> None:
    owner = make_far_owner(folder="private/far")
    assert Owner.decode(owner.encode()) == owner
    assert json.loads(owner.encode()) == asdict(owner)
    without = asdict(owner)
    del without["folder"]
    assert Owner.decode(json.dumps(without).encode()) == replace(owner, folder="")


def encode_changed(**fields: Any) -> bytes:
    content = asdict(make_far_owner())
    for name, value in fields.items():
        (content["process"] if name in content["process"] else content)[name] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "name", ["run_id", "token", "folder", "host", "boot_id", "pid_namespace", "time_namespace", "pid", "start_ticks"]
)
def test_owner_with_a_value_of_another_type_is_damaged(name: str) -> None:
    assert Owner.decode(encode_changed(**{name: None})) is None
    wrong: Any = "7" if name in {"pid", "start_ticks"} else 7
    assert Owner.decode(encode_changed(**{name: wrong})) is None


@pytest.mark.parametrize(
    ("fields", "is_whole"),
    [
        ({"pid": 2**31 - 1}, True),
        ({"pid": 2**31}, False),
        ({"seconds": 0.5}, True),
        ({"seconds": 0.49}, False),
        ({"seconds": 600.0}, True),
        ({"seconds": 600.1}, False),
        ({"seconds": "6"}, False),
        ({"seconds": float("nan")}, False),
        ({"more": 1}, False),
    ],
)
def test_owner_within_limits_is_whole(fields: dict[str, Any], is_whole: bool) -> None:
    assert (Owner.decode(encode_changed(**fields)) is not None) is is_whole


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"7", b'"text"', b"{}", b'{"process": 7}', b"\xff", b"[" * 100_000]
)
def test_damaged_content_is_no_owner(content: bytes) -> None:
    assert Owner.decode(content) is None


def test_owner_is_shown_in_one_line_of_limited_length() -> None:
    assert str(make_far_owner("r1")) == "run r1, process 7 on elsewhere"
    assert str(make_far_owner("a\nb\x1b")) == "run a?b?, process 7 on elsewhere"
    assert len(str(make_far_owner("x" * 1000))) == 300


@pytest.mark.parametrize(
    ("given", "seconds"), [(None, 60.0), ("", 60.0), ("0.5", 0.5), ("600", 600.0), (" 7 ", 7.0), ("1e2", 100.0)]
)
def test_seconds_of_silence_come_from_the_environment(
    given: str | None, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    if given is None:
        monkeypatch.delenv(SECONDS_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(SECONDS_VARIABLE, given)
    assert lock_module._own_seconds() == seconds


@pytest.mark.parametrize("given", ["0.49", "600.1", "soon"])
def test_refused_seconds_name_the_allowed_range(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, given)
    with pytest.raises(RunError) as refused:
        lock_module._own_seconds()
    assert str(refused.value) == (
        f"HEADRACE_LOCK_SECONDS: '{given}'; allowed: a number from 0.5 to 600; unset it for 60"
    )


# Making, looking and releasing


def test_made_lock_is_a_file_that_all_may_read(path: Path) -> None:
    before = os.umask(0)
    try:
        with hold_lock(path, "mine") as held:
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
            assert path.read_bytes() == held.owner.encode()
            assert held.path == path
            assert [entry.name for entry in path.parent.iterdir()] == ["lock"]
    finally:
        os.umask(before)
    assert list(path.parent.iterdir()) == []


def test_lock_that_exists_is_not_made_again(path: Path) -> None:
    path.write_bytes(make_far_owner().encode())
    assert lock_module._make(path, Owner.mine("mine")) is None
    assert [entry.name for entry in path.parent.iterdir()] == ["lock"]


def test_lock_in_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        lock_module._make(tmp_path / "missing" / "lock", Owner.mine("mine"))


def test_swept_temporary_file_is_another_try(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link, calls = os.link, list[Path]()

    def sweep_first(source: Path, target: Path) -> None:
        calls.append(source)
        if len(calls) == 1:
            source.unlink()
        link(source, target)

    monkeypatch.setattr(os, "link", sweep_first)
    with hold_lock(path, "mine"):
        assert len(calls) == 2
        assert calls[0] != calls[1]
        assert all(call.name.startswith(".lock.") and call.name.endswith(".tmp") for call in calls)
        assert {len(call.name) for call in calls} == {len(".lock..tmp") + 12}


def test_lost_answer_to_a_link_is_no_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The link was made, but the network filesystem repeated the request and reports that there is one."""
    link = os.link

    def link_twice(source: Path, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", link_twice)
    with hold_lock(path, "mine") as held:
        held.check()


def test_temporary_file_that_cannot_be_removed_is_no_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        lock = lock_module._make(path, Owner.mine("mine"))
    assert lock is not None
    lock.check()
    lock.release()


def test_lock_without_links_is_not_made_over_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    before = os.umask(0)
    try:
        with hold_lock(path, "mine") as held:
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
            assert path.read_bytes() == held.owner.encode()
            assert lock_module._make(path, Owner.mine("other")) is None
            held.check()
    finally:
        os.umask(before)
    assert list(path.parent.iterdir()) == []


def test_symlink_is_never_written_through(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)
    for write in (lock_module._write, lambda link, content: lock_module._write_exclusively(link, Owner.mine("x"))):
        with contextlib.suppress(FileExistsError):
            write(path, b"x")
        assert target.read_text() == "precious"
    owner = Owner.mine("x")
    target.write_bytes(owner.encode())
    assert lock_module._hold(path, owner, 0.0) is None


def test_look_tells_owner_file_and_time(path: Path) -> None:
    owner = make_far_owner()
    path.write_bytes(owner.encode())
    os.utime(path, ns=(1, 123_456_789))
    look = look_at(path)
    assert (look.owner, look.inode, look.mtime_ns) == (owner, path.stat().st_ino, 123_456_789)


def test_look_at_other_files_finds_no_owner(path: Path) -> None:
    assert lock_module._look(path) is None
    path.mkdir()
    os.utime(path, ns=(1, 5))
    look = look_at(path)
    assert (look.owner, look.inode, look.mtime_ns) == (None, path.stat().st_ino, 5)
    path.rmdir()
    os.mkfifo(path)
    assert look_at(path).owner is None
    path.unlink()
    target = path.with_name("target")
    target.write_bytes(make_far_owner().encode())
    path.symlink_to(target)
    look, status = look_at(path), path.lstat()
    assert (look.owner, look.inode, look.mtime_ns) == (None, status.st_ino, status.st_mtime_ns)
    path.unlink()
    assert lock_module._look_at_link(path) is None


def test_looks_leave_no_file_open(path: Path) -> None:
    path.write_bytes(make_far_owner().encode())
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        lock_module._look(path)
        lock_module._read_token(path)
        lock_module._make(path, Owner.mine("mine"))
    lock = lock_module._make(path.with_name("other"), Owner.mine("mine"))
    assert lock is not None
    lock.release()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_only_a_limited_part_of_a_file_is_read(path: Path) -> None:
    path.write_bytes(b" " * 65_536 + make_far_owner().encode())
    assert look_at(path).owner is None
    assert lock_module._read_token(path) == ""
    path.write_bytes(b" " * 60_000 + make_far_owner().encode())
    assert look_at(path).owner is not None


def test_token_is_read_without_following_symlinks(path: Path) -> None:
    assert lock_module._read_token(path) is None
    owner = make_far_owner()
    path.write_bytes(owner.encode())
    assert lock_module._read_token(path) == owner.token
    path.rename(path.with_name("target"))
    path.symlink_to(path.with_name("target"))
    with pytest.raises(OSError, match="symbolic"):
        lock_module._read_token(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(OSError, match="seek"):  # and it does not wait for a writer
        lock_module._read_token(path)


def test_release_leaves_the_lock_of_another(path: Path) -> None:
    with hold_lock(path, "mine"):
        path.write_bytes(make_far_owner().encode())
    assert look_at(path).owner.run_id == "far"
    assert not any(lock.path == path for lock in lock_module._held.values())


def test_release_after_a_loss_reads_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_lock(path, "mine") as held:
        held._lose("it is gone")
        content = path.read_bytes()
    assert path.read_bytes() == content


def test_release_survives_a_filesystem_that_is_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> str:
        raise OSError("no connection")

    with hold_lock(path, "mine") as held:
        monkeypatch.setattr(lock_module, "_read_token", fail)
    assert not held._heart.is_alive()


# Heartbeats and checks


def test_heart_is_a_daemon_that_beats_twelve_times(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_lock(path, "mine") as held:
        assert held._heart.daemon
        assert held._heart.name == "headrace-lock"
        waits: list[float | None] = []

        def wait(seconds: float | None = None) -> bool:
            waits.append(seconds)
            return len(waits) > 2

        touches: list[bool] = []
        monkeypatch.setattr(held._over, "wait", wait)
        monkeypatch.setattr(held, "_touch", lambda: touches.append(True))
        held._send_heartbeats()
        assert waits == [5.0, 5.0, 5.0]
        assert touches == [True, True]
        held._loss = LockLost("lost")
        waits[:] = []
        held._send_heartbeats()
        assert len(waits) == 1
        assert len(touches) == 2
        held._loss = None
        monkeypatch.undo()


def test_lock_is_stale_after_a_third_of_its_seconds(path: Path, clock: list[float]) -> None:
    now = clock
    with hold_lock(path, "mine") as held:
        assert held._touched_at == 1000.0
        now[0] = 1020.0
        assert not held._is_stale()
        now[0] = 1020.1
        assert held._is_stale()
        held.check()
        assert held._touched_at == 1020.1


def test_fresh_lock_is_only_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_lock(path, "mine") as held:
        monkeypatch.setattr(held, "_touch", lambda: pytest.fail("it was touched"))
        held.check()
        path.unlink()
        with pytest.raises(LockLost, match="it is gone"):
            held.check()
        monkeypatch.undo()


def test_touch_shows_a_sign_of_life(path: Path, clock: list[float]) -> None:
    now = clock
    with hold_lock(path, "mine") as held:
        os.utime(path, (1, 1))
        now[0] = 1001.0
        held._touch()
        assert path.stat().st_mtime > 1000
        assert held._touched_at == 1001.0
        path.unlink()
        now[0] = 1002.0
        held._touch()
        assert held._touched_at == 1001.0, "a lost lock is not fresh"


def test_touch_that_takes_too_long_counts_from_its_start(
    path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock

    def be_slow(*_: Any) -> None:
        now[0] += 25.0

    with hold_lock(path, "mine") as held:
        now[0] = 1030.0
        monkeypatch.setattr(lock_module, "_set_time", be_slow)
        with pytest.raises(LockLost, match="lock: it could not be refreshed in time; this run"):
            held.check()


def test_loss_is_reported_once_with_its_first_reason(path: Path) -> None:
    with hold_lock(path, "mine") as held:
        held.on_loss(LockLost("ignored by default"))
        reported: list[LockLost] = []
        held.on_loss = reported.append
        held._lose("it is gone")
        held._lose("another reason")
        assert str(held._loss) == (
            f"this run has lost its lock {path}: it is gone; this run has stopped and wrote nothing more;"
            " give the same command again once no other run is at work there"
        )
        assert reported == [held._loss, held._loss]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (make_far_owner("r2").encode(), "it is held by run r2, process 7 on elsewhere"),
        (b"{", "it is held by another run"),
        (None, "it is gone"),
    ],
)
def test_loss_names_the_successor(path: Path, content: bytes | None, why: str) -> None:
    with hold_lock(path, "mine") as held:
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(LockLost) as lost:
            held.check()
        assert str(lost.value).startswith(f"this run has lost its lock {path}: {why}; ")
        assert held._read_successor() == (why.removeprefix("it is held by ") if content else "another run")


def test_filesystem_that_cannot_set_times_gets_the_same_bytes_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    owner, synced = make_far_owner(), list[int]()
    path.write_bytes(owner.encode())
    os.utime(path, (1, 1))
    descriptor = os.open(path, os.O_RDWR)
    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(os, "fsync", synced.append)
    lock_module._set_time(descriptor, owner)
    os.close(descriptor)
    assert path.read_bytes() == owner.encode()
    assert path.stat().st_mtime > 1000
    assert synced == [descriptor]


def test_heart_of_a_filesystem_that_cannot_set_times_beats(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    with hold_lock(path, "mine") as held:
        os.utime(path, (1, 1))
        monkeypatch.setattr(os, "utime", refuse)
        held._touch()
        assert path.stat().st_mtime > 1000
        held.check()


def test_check_by_token_in_the_owners_process_and_in_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hold_lock(path, "mine") as held:
        checks: list[bool] = []
        monkeypatch.setattr(held, "check", lambda: checks.append(True))
        check_lock(path, held.owner.token)
        assert checks == [True]
    owner = make_far_owner()
    path.write_bytes(owner.encode())
    check_lock(path, owner.token)
    with pytest.raises(LockLost) as lost:
        check_lock(path, "another")
    assert str(lost.value).startswith(f"this run has lost its lock {path}: another run holds it; ")
    path.unlink()
    with pytest.raises(LockLost) as lost:
        check_lock(path, owner.token)
    assert str(lost.value).startswith(f"this run has lost its lock {path}: it is gone; ")


@pytest.mark.parametrize(("error", "reason"), [(OSError(5, "bad disk"), "bad disk"), (OSError("odd"), "odd")])
def test_lock_that_cannot_be_read_is_an_error(
    path: Path, error: OSError, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> str:
        raise error

    monkeypatch.setattr(lock_module, "_read_token", fail)
    with pytest.raises(RunError) as raised:
        check_lock(path, "token")
    assert str(raised.value) == f"cannot read the lock {path}: {reason}; nothing was published"
    assert raised.value.__cause__ is error


# Watching and taking over


def test_watch_ends_when_the_owner_was_silent_for_its_seconds(path: Path, watch: Watch) -> None:
    path.write_bytes(make_far_owner(seconds=6.0).encode())
    look = look_at(path)
    assert lock_module._watch(path, look) == look
    assert sum(watch.sleeps) == pytest.approx(6.0, abs=0.1)
    assert sum(watch.sleeps) >= 6.0 - 1e-9
    assert watch.sleeps[:5] == pytest.approx([0.02, 0.04, 0.08, 0.1, 0.1])
    assert max(watch.sleeps) == pytest.approx(0.1)


def test_watch_of_a_damaged_lock_takes_the_own_seconds(
    path: Path, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(SECONDS_VARIABLE, "3")
    path.write_text("{")
    assert lock_module._watch(path, look_at(path)) is not None
    assert sum(watch.sleeps) == pytest.approx(3.0, abs=0.06)


def test_watch_ends_when_the_lock_changes(path: Path, watch: Watch) -> None:
    path.write_bytes(make_far_owner().encode())
    os.utime(path, (1, 1))
    look = look_at(path)
    watch.on_sleep = lambda number: os.utime(path, (2, 2)) if number == 4 else None  # type: ignore[method-assign]
    later = lock_module._watch(path, look)
    assert later == replace(look, mtime_ns=2_000_000_000)
    assert len(watch.sleeps) == 4
    watch.on_sleep = lambda number: path.unlink()  # type: ignore[method-assign]
    assert lock_module._watch(path, look_at(path)) is None


def test_pause_of_the_watcher_does_not_count_as_silence(path: Path, watch: Watch) -> None:
    path.write_bytes(make_far_owner().encode())
    lock_module._watch(path, look_at(path))
    undisturbed = len(watch.sleeps)
    watch.sleeps.clear()
    watch.extra = {10: 1000.0}
    lock_module._watch(path, look_at(path))
    assert len(watch.sleeps) in {undisturbed - 1, undisturbed}, "a long sleep counts twice its length, not more"
    watch.sleeps.clear()
    watch.extra = dict.fromkeys(range(1000), 0.05)
    lock_module._watch(path, look_at(path))
    assert len(watch.sleeps) == pytest.approx(undisturbed / 1.5, abs=3), "a slow machine's seconds count"


def test_owner_that_lives_refuses_the_run_at_once(path: Path, watch: Watch) -> None:
    with hold_lock(path, "first") as first:
        with pytest.raises(RunError) as refused, hold_lock(path, "mine"):
            pass
        assert str(refused.value) == (
            f"{path.parent.parent} is in use by {first.owner}; wait for it, or give another --output-dir"
        )
    assert watch.sleeps == []


def test_silent_owner_is_announced_once_and_taken_over(path: Path, watch: Watch) -> None:
    far, said = make_far_owner(), list[str]()
    path.write_bytes(far.encode())
    with hold_lock(path, "mine", said.append) as held:
        assert look_at(path).owner == held.owner
    output = path.parent.parent
    assert "\n".join(said) == (
        f"{output} is locked by run far, process 7 on elsewhere, which cannot be looked up from here:"
        " waiting up to 6 s for a sign of life"
    )
    path.write_text("{")
    with hold_lock(path, "mine", said.append):
        pass
    assert said[1:] == [f"{path} names no owner: waiting up to 60 s for a sign of life"]
    path.write_bytes(far.encode())
    with hold_lock(path, "mine"):
        pass


def test_owner_that_shows_a_sign_of_life_refuses_the_run(path: Path, watch: Watch) -> None:
    path.write_bytes(make_far_owner().encode())
    watch.on_sleep = lambda number: os.utime(path, (2, number))  # type: ignore[method-assign]
    with pytest.raises(RunError) as refused, hold_lock(path, "mine"):
        pass
    output = path.parent.parent
    assert str(refused.value) == (
        f"{output} is in use by run far, process 7 on elsewhere; wait for it, or give another --output-dir"
    )
    assert look_at(path).owner.run_id == "far"


def test_damaged_lock_that_changes_is_of_a_run_that_just_began(path: Path, watch: Watch) -> None:
    path.write_text("{")
    watch.on_sleep = lambda number: os.utime(path, (2, number))  # type: ignore[method-assign]
    with pytest.raises(RunError, match="is in use by a run that just began; wait for it"), hold_lock(path, "mine"):
        pass


def test_lock_that_vanishes_or_changes_hands_is_looked_at_again(path: Path, watch: Watch) -> None:
    said: list[str] = []
    path.write_bytes(make_far_owner("first").encode())

    def hand_over(number: int) -> None:
        if number == 1:
            path.write_bytes(make_far_owner("second").encode())
        elif number == 3:
            path.unlink()

    watch.on_sleep = hand_over  # type: ignore[method-assign]
    with hold_lock(path, "mine", said.append):
        pass
    assert len(said) == 1
    assert len(watch.sleeps) == 3


def test_lock_that_vanished_before_the_look_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, tries = lock_module._make, iter([True])
    monkeypatch.setattr(lock_module, "_make", lambda *given: None if next(tries, False) else make(*given))
    with hold_lock(path, "mine"):
        assert look_at(path).owner.run_id == "mine"


def test_dead_owner_is_taken_over_at_once(path: Path, watch: Watch) -> None:
    path.write_bytes(make_dead_owner().encode())
    with hold_lock(path, "mine", pytest.fail):
        assert [entry.name for entry in path.parent.iterdir()] == ["lock"]
    assert watch.sleeps == []


def test_removed_lock_that_is_another_one_is_given_back(path: Path) -> None:
    path.write_bytes(make_dead_owner().encode())
    look, fenced = look_at(path), list[str]()
    other = make_far_owner("other", folder="private/other")
    path.write_bytes(other.encode())
    lock_module._remove_dead(path, look, fenced.append)
    assert look_at(path).owner == other
    assert fenced == []
    assert [entry.name for entry in path.parent.iterdir()] == ["lock"]


def test_lock_that_is_given_back_never_replaces_a_newer_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(make_far_owner("old").encode())
    look = replace(look_at(path), mtime_ns=1)
    rename, names = Path.rename, list[str]()

    def rename_and_take(self: Path, target: Path) -> None:
        rename(self, target)
        names.append(target.name)
        path.write_bytes(make_far_owner("new").encode())

    monkeypatch.setattr(Path, "rename", rename_and_take)
    lock_module._remove_dead(path, look)
    assert look_at(path).owner.run_id == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["lock"]
    (name,) = names
    assert name.startswith(".lock.dead.")
    assert name.endswith(".tmp")
    assert len(name) == len(".lock.dead..tmp") + 12


def test_lock_that_is_gone_needs_no_removal(path: Path) -> None:
    path.write_bytes(make_dead_owner(folder="private/dead").encode())
    look = look_at(path)
    path.unlink()
    lock_module._remove_dead(path, look, pytest.fail)


# Claims of items


def test_claim_of_a_dead_owner_is_fenced(path: Path, watch: Watch) -> None:
    path.write_bytes(make_dead_owner(folder="private/dead").encode())
    fenced: list[str] = []
    with claim_lock(path, "mine", "private/mine", fenced.append) as held:
        assert fenced == ["private/dead"]
        assert (held.owner.run_id, held.owner.folder) == ("mine", "private/mine")
    assert watch.sleeps == []
    assert list(path.parent.iterdir()) == []


def test_claim_waits_while_its_owner_shows_signs_of_life(path: Path, watch: Watch) -> None:
    path.write_bytes(make_far_owner(folder="private/far").encode())
    fenced: list[str] = []

    def beat(number: int) -> None:
        assert fenced == []
        if number <= 5:
            os.utime(path, (2, number))

    watch.on_sleep = beat  # type: ignore[method-assign]
    with claim_lock(path, "mine", fence=fenced.append) as held:
        assert fenced == ["private/far"]
        assert held.owner.folder == ""
    assert sum(watch.sleeps) >= 6.0


def test_claim_that_vanishes_is_taken(path: Path, watch: Watch) -> None:
    path.write_bytes(make_far_owner(folder="private/far").encode())
    watch.on_sleep = lambda number: path.unlink()  # type: ignore[method-assign]
    with claim_lock(path, "mine", fence=pytest.fail):
        assert len(watch.sleeps) == 1


def test_claim_fences_owners_whose_lock_another_process_took_away(path: Path) -> None:
    dead = make_dead_owner(folder="private/dead").encode()
    (path.parent / ".lock.dead.0123456789ab.tmp").write_bytes(dead)
    (path.parent / ".lock.dead.0123456789cd.tmp").write_bytes(b"{")
    (path.parent / ".lock.dead.0123456789ef.tmp").write_bytes(make_dead_owner().encode())
    (path.parent / ".other.dead.0123456789ab.tmp").write_bytes(make_dead_owner(folder="private/other").encode())
    fenced: list[str] = []
    with claim_lock(path, "mine", fence=fenced.append):
        assert fenced == ["private/dead"]


def test_claim_whose_fence_fails_is_released(path: Path) -> None:
    def fail(_: str) -> None:
        raise RunError("it cannot be removed")

    (path.parent / ".lock.dead.0123456789ab.tmp").write_bytes(make_dead_owner(folder="private/dead").encode())
    with pytest.raises(RunError, match="it cannot be removed"), claim_lock(path, "mine", fence=fail):
        pass
    assert not path.exists()
    wait_until(lambda: not lock_module._held, "the release")


def test_claim_without_a_fence(path: Path) -> None:
    path.write_bytes(make_dead_owner(folder="private/dead").encode())
    with claim_lock(path, "mine") as held:
        assert isinstance(held, Lock)
