"""Define a stage whose items do what their payload says: good work, or any kind of fault.

With HEADRACE_TEST_LEDGER in the environment each attempt of an item appends lines to that file, synced to disk:
``start <item> <pid>`` before the work and ``end <item> <pid>`` after it.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from tasks.engine.contract.errors import BadInput, TransientError
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage, StageResult, Workspace
from tests.engine.processes import count_tries

LEDGER = "HEADRACE_TEST_LEDGER"
STALLED = "HEADRACE_TEST_STALLED"  # folder: items stall while it has a file of their name, or "all"
_FOREVER_SECONDS = 3600
_CHUNK_BYTES = 16 << 20
_MAX_BYTES = 1 << 30  # the memory eater stops itself at this size


class FaultParams(BaseModel):
    """Parameters; ``text`` is written into every output, so it changes results and keys."""

    model_config = ConfigDict(frozen=True)

    text: str = "text"


class FaultStage(Stage):
    """Run the action ``payload["do"]``."""

    name = "faults"
    version = 1
    memory_bytes = 64 << 20
    timeout_seconds = 60.0
    params: FaultParams

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Run the item's action."""
        print(f"this is {item.id}", flush=True)  # only in the log of this item
        write_to_ledger("start", item)
        result = ACTIONS[item.payload.get("do", "write")](self, item, work)
        write_to_ledger("end", item)
        return result


def write_to_ledger(word: str, item: Item) -> None:
    """Append a line to the ledger, if the environment names one."""
    path = os.environ.get(LEDGER)
    if path is None:
        return
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, f"{word} {item.id} {os.getpid()}\n".encode())
    os.fsync(descriptor)
    os.close(descriptor)


def _write(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Write two files and return two values; the bytes depend only on the id and the params."""
    content = f"{item.id} {stage.params.text}\n"
    work.output(f"made/{item.id}/note.txt").write_text(content)
    work.output(f"made/{item.id}/more/data.bin").write_bytes(content.encode() * 1000)
    return StageResult({"letters": len(content)}, {"content": content})


def _copy(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Publish the inputs, and return the paths from which they were read."""
    for path in item.inputs:
        work.output(f"made/{item.id}/{Path(path).name}").write_bytes(work.input(path).read_bytes())
    return StageResult({"read_at": [str(work.input(path)) for path in item.inputs]})


def _gather(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Publish the inputs under names that do not include the item's id."""
    for path in item.inputs:
        work.output(f"made/{Path(path).name}").write_bytes(work.input(path).read_bytes())
    return StageResult()


def _decode(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Decode frames of a real video."""
    from tasks.frames.params import FramesParams
    from tasks.frames.stage import FramesStage

    samples = [{"id": item.id, "support_seconds": []}]
    payload = {"video": Path(item.inputs[0]).name, "samples": samples}
    return FramesStage(FramesParams()).run(replace(item, payload=payload), work)


def _say_the_slot(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Return the slot's number from the environment, and the number of threads that OpenCV may start."""
    import cv2

    return StageResult({"slot_number": os.environ["HEADRACE_SLOT"], "threads": cv2.getNumThreads()})


def _take_time(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Sleep, so that a run can be stopped meanwhile.

    Then wait while the hold file exists and as many items as it says have ended: a late test is in time then.
    """
    time.sleep(item.payload["seconds"])
    while _is_held():
        time.sleep(0.02)
    return _write(stage, item, work)


def get_hold_file(ledger: Path) -> Path:
    """Return the file that holds items back: it has the number of items that may end before."""
    return ledger.with_name(f"{ledger.name}.hold")


def _is_held() -> bool:
    ledger = os.environ.get(LEDGER)
    try:
        return ledger is not None and count_tries(Path(ledger), "end").total() >= int(
            get_hold_file(Path(ledger)).read_text()
        )
    except FileNotFoundError:
        return False


def _wait_for(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Wait until ``payload["gate"]`` exists."""
    while not Path(item.payload["gate"]).exists():
        time.sleep(0.01)
    return _write(stage, item, work)


def _sign(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Write two files whose content depends on this process."""
    if folder := os.environ.get(STALLED):
        while any(Path(folder, name).exists() for name in (item.id, "all")):
            time.sleep(0.01)
    for name in ("first", "second"):
        work.output(f"made/{item.id}/{name}").write_text(f"{os.getpid()} made {item.id}\n" * (os.getpid() % 100))
    return StageResult({"maker": os.getpid()})


def _kill_the_worker(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Kill the parent process of this one."""
    os.kill(os.getppid(), signal.SIGKILL)
    return _hang_asleep(stage, item, work)


def _hang_in_c(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    re.match(r"(a+)+$", "a" * 60 + "b")  # years in one call that holds the interpreter's lock
    raise AssertionError("the regular expression came back")


def _hang_asleep(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    time.sleep(_FOREVER_SECONDS)
    raise AssertionError("woke up")


def _hang_with_children(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Start hanging processes, one of them in another session, outside the child's process group."""
    subprocess.Popen(["sleep", str(_FOREVER_SECONDS)])
    subprocess.Popen(["sleep", str(_FOREVER_SECONDS)], start_new_session=True)
    return _hang_asleep(stage, item, work)


def _leave_a_child(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    subprocess.Popen(["sleep", str(_FOREVER_SECONDS)])
    return _write(stage, item, work)


def _fork_and_die(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Abort while a forked process holds this process's end of the pipe open."""
    if os.fork() == 0:
        time.sleep(_FOREVER_SECONDS)
    os.abort()


def _segfault(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    ctypes.string_at(0)
    raise AssertionError("survived")


def _abort(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    os.abort()


def _exit(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    os._exit(7)


def _exit_in_peace(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    sys.exit(0)


def _kill_itself(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("survived")


def _eat_memory(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Use memory slowly, so that the limit is noticed before the machine runs out."""
    eaten: list[bytes] = []
    while len(eaten) * _CHUNK_BYTES < _MAX_BYTES:
        eaten.append(b"x" * _CHUNK_BYTES)
        time.sleep(0.02)
    raise AssertionError("nobody stopped it")


def _eat_memory_elsewhere(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Use memory in a child process."""
    code = f"import time; eaten = b'x' * {2 * _MAX_BYTES // 3}; time.sleep({_FOREVER_SECONDS})"
    subprocess.run([sys.executable, "-c", code], check=False)
    raise AssertionError("nobody stopped it")


def _raise(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    raise ValueError(item.payload.get("words", "first line\n  second line"))


def _raise_without_words(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    raise ArithmeticError


def _raise_bad_input(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    work.output(f"made/{item.id}/half.txt").write_text("half")
    raise BadInput("the tape is torn")


def _raise_transient(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    raise TransientError("the share is away")


def _raise_memory_error(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    raise MemoryError


def _pass_at_second_try(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Fail at the first attempt only: ``payload["mark"]`` is the file that marks it."""
    mark = Path(item.payload["mark"])
    if mark.exists():
        return _write(stage, item, work)
    mark.touch()
    fault = item.payload.get("first", "raise_transient")
    return ACTIONS[fault](stage, item, work)


def _publish_a_link(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    work.output("made/link.txt").symlink_to("/etc/hostname")
    return StageResult()


def _publish_a_linked_folder(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    work.output("made/linked").symlink_to("/etc")
    return StageResult()


def _publish_a_pipe(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    os.mkfifo(work.output("made/pipe"))
    return StageResult()


def _write_outside(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    work.output("../outside.txt").write_text("outside")
    return StageResult()


def _give_an_object(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    return StageResult({}, {"object": object()})


def _give_a_function(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    return StageResult({}, {"function": lambda: None})  # which cannot be pickled either


def _give_nested_values(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    return StageResult({"nested": {"a": 1}})  # type: ignore[dict-item]


def _give_a_taken_name(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    return StageResult({"outcome": "good", "letters": 1, "id": "mine"})


def _give_nothing(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    return None  # type: ignore[return-value]


def _talk(stage: FaultStage, item: Item, work: Workspace) -> StageResult:
    """Write 8 MB to standard error, then fail."""
    for number in range(100_000):
        sys.stderr.write(f"{item.id} says something, {number:08d} times, on and on and on, again and again\n")
    raise ValueError("said enough")


Action = Callable[[FaultStage, Item, Workspace], StageResult]
ACTIONS: dict[str, Action] = {
    action.__name__.lstrip("_"): action
    for action in (
        _write,
        _copy,
        _gather,
        _take_time,
        _say_the_slot,
        _decode,
        _wait_for,
        _sign,
        _kill_the_worker,
        _hang_in_c,
        _hang_asleep,
        _hang_with_children,
        _leave_a_child,
        _fork_and_die,
        _segfault,
        _abort,
        _exit,
        _exit_in_peace,
        _kill_itself,
        _eat_memory,
        _eat_memory_elsewhere,
        _raise,
        _raise_without_words,
        _raise_bad_input,
        _raise_transient,
        _raise_memory_error,
        _pass_at_second_try,
        _publish_a_link,
        _publish_a_linked_folder,
        _publish_a_pipe,
        _write_outside,
        _give_an_object,
        _give_a_function,
        _give_nested_values,
        _give_a_taken_name,
        _give_nothing,
        _talk,
    )
}
