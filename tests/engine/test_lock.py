"""The lock of an output folder: one run at a time, and a dead owner holds nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from tasks.engine import lock
from tasks.engine.errors import RunError
from tasks.engine.lock import Owner, locked

_HOLD = """
import sys, time
from pathlib import Path
from tasks.engine.lock import locked
with locked(Path(sys.argv[1]), "other-run"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / ".headrace"
    folder.mkdir(parents=True)
    return folder / "lock"


def hold_elsewhere(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until it is ended."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_run_says_who_is_at_work(path: Path) -> None:
    with hold_elsewhere(path) as holder:
        said = rf"in use by run other-run, process {holder.pid} on .*another --output-dir"
        with pytest.raises(RunError, match=said), locked(path, "mine"):
            pass
        holder.kill()
    assert path.exists()


def test_a_killed_run_holds_nothing(path: Path) -> None:
    with hold_elsewhere(path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with locked(path, "mine"):
            assert json.loads(path.read_bytes())["run_id"] == "mine"
    assert sorted(path.parent.iterdir()) == []


def test_a_process_with_the_number_of_the_dead_one_is_not_the_owner(path: Path) -> None:
    earlier = replace(Owner.myself("old"), created=1.0)
    path.write_text(json.dumps(asdict(earlier)))
    with locked(path, "mine"):
        assert json.loads(path.read_bytes())["run_id"] == "mine"


def test_an_owner_elsewhere_lives_while_it_touches_the_lock(path: Path) -> None:
    path.write_text(json.dumps(asdict(replace(Owner.myself("far"), host="another-host"))))
    with pytest.raises(RunError, match=r"run far, process .* on another-host"), locked(path, "mine"):
        pass
    silent = time.time() - 3600
    os.utime(path, (silent, silent))
    with locked(path, "mine"):
        assert json.loads(path.read_bytes())["run_id"] == "mine"


def test_a_torn_lock_is_dead_once_it_is_old(path: Path) -> None:
    path.write_text("{")
    with pytest.raises(RunError, match="in use by a run that just began"), locked(path, "mine"):
        pass
    os.utime(path, (1.0, 1.0))
    with locked(path, "mine"):
        pass


def test_the_lock_is_touched_while_it_is_held(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_TOUCH_SECONDS", 0.01)
    with locked(path, "mine"):
        os.utime(path, (1.0, 1.0))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime < 1000:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_filesystem_without_links(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    with locked(path, "mine"), pytest.raises(RunError), locked(path, "another"):
        pass
    assert not path.exists()


def _race(path: Path, number: int, start: Any, winners: Any) -> None:
    start.wait()
    try:
        with locked(path, f"run-{number}"):
            winners.put(number)
            start.wait()  # hold it until everybody has tried
    except RunError:
        start.wait()


@pytest.mark.parametrize("round_", range(5))
def test_of_many_that_find_a_dead_lock_one_gets_it(path: Path, round_: int) -> None:
    path.write_text(json.dumps(asdict(replace(Owner.myself("dead"), created=1.0))))
    context = get_context("spawn")
    start, winners = context.Barrier(4), context.Queue()
    racers = [context.Process(target=_race, args=(path, number, start, winners)) for number in range(4)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(60)
    assert [racer.exitcode for racer in racers] == [0] * 4
    assert len([winners.get() for _ in range(winners.qsize())]) == 1
