"""Test children that a template forks: they are as separate, marked and accounted for as children started directly."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks.engine.contract.errors import RunError
from tasks.engine.contract.items import Item
from tasks.engine.contract.stage import Stage
from tasks.engine.running import sibling, starting, template, templates
from tasks.engine.running.child_process import PortableChild, WatchedChild
from tasks.engine.running.control import StopSignal
from tasks.engine.running.messages import Failed, Finished, Imported, Request, Rest
from tasks.engine.running.slot import Limits, Slot
from tasks.engine.running.watchdog import build_watched_environment, end_marked, new_mark
from tests.engine.processes import (
    MARK,
    ROOT,
    TEMPLATE,
    child_environment,
    find_processes,
    wait_until,
    wait_until_gone,
)
from tests.engine.template_stages import make_reporting_stage
from tests.engine.threaded_stage import ThreadedStage

pytestmark = pytest.mark.skipif(not sibling.is_supported(), reason="this system starts all children directly")

CHILD = "tasks.engine.running.child"
LIMITS = Limits(60.0, 1 << 30)
MakeSlot = Callable[..., Slot]
# argv: a folder. Starts an item without end in each of two slots.
FLOW = """
import sys, time
from pathlib import Path
from tests.engine.test_templates import start_endless_items
slots = start_endless_items(Path(sys.argv[1]))
print("started", flush=True)
time.sleep(3600)
"""


@pytest.fixture
def make_slot(tmp_path: Path) -> Iterator[MakeSlot]:
    """Return a function that makes and opens slots; other tests in this process may have left templates."""
    templates.end_templates()
    slots: list[Slot] = []

    def make(stage: Stage | None = None, mark: str = "") -> Slot:
        number = len(slots)
        log = tmp_path / f"{number}.log"
        log.touch()
        slots.append(Slot(stage or make_reporting_stage(), f"slot-{number}", log, number, mark))
        slots[-1].open()
        return slots[-1]

    yield make
    for slot in slots:
        slot.close()
    templates.end_templates()


def start_endless_items(folder: Path) -> list[Slot]:
    slots = [Slot(make_reporting_stage(), str(number), folder / str(number), number) for number in range(2)]
    for slot in slots:
        slot.log.touch()
        start_item(slot, do="wait", gate=str(folder / "never"))
    return slots


def start_item(slot: Slot, **payload: Any) -> None:
    slot.open()
    private = slot.log.with_suffix(".private")
    slot.start(Request(Item("item", payload), private, private))


def run_item(slot: Slot, limits: Limits = LIMITS, **payload: Any) -> Finished | Failed:
    start_item(slot, **payload)
    reply = slot.wait(limits, StopSignal())
    assert reply is not None
    return reply


def read_values(slot: Slot) -> dict[str, Any]:
    reply = run_item(slot)
    assert isinstance(reply, Finished), reply
    return dict(reply.result.values)


def get_pid(slot: Slot) -> int:
    assert slot._process is not None
    return slot._process.pid


def get_template() -> templates.Template:
    (only,) = templates._templates.values()
    return only


def get_template_pid() -> int:
    process = get_template()._process
    assert process is not None
    return process.pid


def read_environment(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(entry.split("=", 1) for entry in entries if "=" in entry)


def read_descriptors(pid: int) -> dict[int, str]:
    targets = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that lists the folder
            targets[int(entry.name)] = str(entry.readlink())
    return targets


def test_children_of_a_stage_have_one_template_and_this_process_as_parent(make_slot: MakeSlot) -> None:
    slots = [make_slot(), make_slot()]
    assert get_template_pid() not in {get_pid(slot) for slot in slots}
    for slot in slots:
        process = psutil.Process(get_pid(slot))
        assert process.ppid() == os.getpid()
        assert CHILD in process.cmdline()
        assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
        assert Path(f"/proc/{process.pid}/oom_score_adj").read_text() == "900\n"
    assert get_template()._children == 2


def test_forked_child_knows_its_own_slot_and_thread(make_slot: MakeSlot) -> None:
    for number, slot in enumerate([make_slot(), make_slot()]):
        values = read_values(slot)
        assert values["slot_number"] == str(number)
        assert values["main_thread"] == values["pid"] == get_pid(slot)
        assert values["other_thread"] != values["pid"]


def test_children_of_one_template_have_the_marks_of_their_runs(make_slot: MakeSlot) -> None:
    marks = [new_mark(), new_mark()]
    slots = [make_slot(mark=mark) for mark in marks]
    for slot, mark in zip(slots, marks, strict=True):
        assert read_environment(get_pid(slot))["HEADRACE_KEPT"] == mark
        limits = Path(f"/proc/{get_pid(slot)}/limits").read_text()
        assert str(max(int(mark[:15], 16), int(mark[15:30], 16))) in limits
    (own,) = build_watched_environment().values()
    assert read_environment(get_template_pid())["HEADRACE_KEPT"] == own

    assert end_marked({marks[0]}) == 1
    assert isinstance(run_item(slots[1]), Finished), "the other run continues"
    assert get_template()._is_running()


def test_limit_marks_a_forked_child_if_its_environment_cannot_be_changed(
    make_slot: MakeSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = new_mark()
    slot = make_slot(mark=mark)
    memory = Path(f"/proc/{get_pid(slot)}/mem")
    entries = Path(f"/proc/{get_pid(slot)}/stat").read_text().rpartition(")")[2].split()
    start, end = int(entries[47]), int(entries[48])
    with memory.open("r+b", buffering=0) as stream:
        os.pwrite(stream.fileno(), bytes(end - start), start)
    assert "HEADRACE_KEPT" not in read_environment(get_pid(slot))
    assert end_marked({mark}) == 1


def test_random_numbers_of_two_children_differ(make_slot: MakeSlot) -> None:
    first, second = (read_values(slot) for slot in (make_slot(), make_slot()))
    assert first["python"] != second["python"]
    assert first["numpy"] != second["numpy"]


def test_child_has_no_descriptor_of_another_slot(make_slot: MakeSlot) -> None:
    slots = [make_slot() for _ in range(3)]
    sockets: list[str] = []
    for slot in slots:
        descriptors = read_descriptors(get_pid(slot))
        assert {place: descriptors.pop(place) for place in (0, 1, 2)} == {
            0: os.devnull,
            1: str(slot.log),
            2: str(slot.log),
        }
        (pipe,) = descriptors.values()
        sockets.append(pipe)
    assert len(set(sockets)) == len(slots)
    assert not set(sockets) & set(read_descriptors(get_template_pid()).values())


def test_descriptors_of_this_process_are_closed_with_the_slot(make_slot: MakeSlot) -> None:
    make_slot()
    before = read_descriptors(os.getpid())
    for _ in range(5):
        make_slot().close()
    assert read_descriptors(os.getpid()).keys() == before.keys()


@pytest.fixture(params=["forked", "started"])
def any_slot(request: pytest.FixtureRequest, make_slot: MakeSlot, monkeypatch: pytest.MonkeyPatch) -> Slot:
    if request.param == "started":
        monkeypatch.setattr(templates.Template, "fork", lambda self, log, variables: None)
    slot = make_slot()
    assert (get_template()._process is None) == (request.param == "started")
    return slot


def test_exit_code_or_signal_is_reported(any_slot: Slot) -> None:
    for code in (0, 3, 255):
        reply = run_item(any_slot, do="exit", code=code)
        assert isinstance(reply, Failed)
        assert (reply.kind, reply.message) == ("crash", f"the item's process exited with code {code}")
    for name in ("SIGSEGV", "SIGKILL", "SIGTERM"):
        reply = run_item(any_slot, do="signal", signal=signal.Signals[name])
        assert isinstance(reply, Failed)
        assert (reply.kind, reply.message) == ("crash", f"the item's process ended by {name}")


def test_item_that_closes_its_pipe_and_hangs_has_crashed(any_slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.engine.running.slot._CLOSE_SECONDS", 1.0)
    pid = get_pid(any_slot)
    reply = run_item(any_slot, do="close")
    assert isinstance(reply, Failed)
    assert (reply.kind, reply.message) == ("crash", "the item's process closed its connection and did not end")
    assert not psutil.pid_exists(pid)


def test_process_id_of_a_dead_child_is_not_reused_before_its_slot_closes(any_slot: Slot) -> None:
    process = any_slot._process
    assert isinstance(process, WatchedChild)
    os.kill(process.pid, signal.SIGKILL)
    assert process.poll(60.0) == -signal.SIGKILL
    assert psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE
    any_slot.close()
    with pytest.raises(ChildProcessError):
        os.waitpid(process.pid, os.WNOHANG)


def test_portable_child_reports_its_end() -> None:
    child = PortableChild(subprocess.Popen([sys.executable, "-c", "input(); raise SystemExit(3)"], stdin=-1))
    assert child.poll() is None
    assert child.poll(0.01) is None
    with pytest.raises(RunError, match=f"process {child.pid} did not end within 0.01 s"):
        child.reap(0.01)
    stream = child._process.stdin
    assert stream is not None
    stream.write(b"\n")
    stream.close()
    assert child.poll(60.0) == child.poll() == 3
    child.reap(0.0)


def test_killed_template_costs_no_item(make_slot: MakeSlot, tmp_path: Path) -> None:
    slot = make_slot()
    before = get_template_pid()
    start_item(slot, do="wait", gate=str(tmp_path / "gate"))
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: not get_template()._is_running(), "the end of the template")
    second = make_slot()
    assert get_template_pid() != before
    (tmp_path / "gate").touch()
    reply = slot.wait(LIMITS, StopSignal())
    assert isinstance(reply, Finished), reply
    assert reply.result.values["pid"] == get_pid(slot)
    assert read_values(second)["pid"] == get_pid(second)


def test_suspended_template_is_replaced(make_slot: MakeSlot, monkeypatch: pytest.MonkeyPatch) -> None:
    make_slot()
    before = get_template_pid()
    os.kill(before, signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(templates, "_FORK_SECONDS", 0.5)
        patch.setattr(templates, "_TRIES", 1)
        assert isinstance(run_item(make_slot()), Finished)  # started directly
    assert not psutil.pid_exists(before)
    assert isinstance(run_item(make_slot()), Finished)
    assert get_template_pid() != before


def test_template_that_dies_during_the_import_is_tried_again(
    make_slot: MakeSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    introduce = templates._introduce

    def introduce_to_killed_template(control: Connection, stage: Stage) -> str | None:
        os.kill(get_template_pid(), signal.SIGKILL)
        return introduce(control, stage)

    monkeypatch.setattr(templates, "_introduce", introduce_to_killed_template)
    for number in range(1, templates._MAX_DEATHS + 1):
        assert isinstance(run_item(make_slot()), Finished)
        assert (get_template()._deaths, bool(get_template()._refusal)) == (number, number == templates._MAX_DEATHS)


def test_stage_whose_import_starts_a_thread_is_not_forked(make_slot: MakeSlot) -> None:
    stage = ThreadedStage(make_reporting_stage().params)
    slots = [make_slot(stage), make_slot(stage)]
    assert get_template()._refusal == "the stage's modules have started threads: there are 2"
    assert get_template()._process is None
    for slot in slots:
        assert CHILD in psutil.Process(get_pid(slot)).cmdline()
        assert isinstance(run_item(slot), Finished)


def test_process_with_several_threads_cannot_fork_a_sibling() -> None:
    code = """
import threading, time
from tasks.engine.running.sibling import fork_sibling
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
fork_sibling()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "OSError: a process with several threads cannot fork a sibling" in done.stderr


def test_no_module_of_a_stage_starts_a_thread() -> None:
    """Check all stages of the project with the environment of their children: threads would slow each child's start."""
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted((ROOT / "tasks").rglob("*.py"))
        if "Stage):" in (text := path.read_text()) or "StageBase[" in text
    ]
    assert len(modules) > 10
    code = f"""
import importlib
from tasks.engine.running.sibling import count_threads
for module in {modules!r}:
    importlib.import_module(module)
    assert count_threads() == 1, module
"""
    subprocess.run([sys.executable, "-c", code], env=child_environment(**starting._THREADS), check=True)


def test_changed_environment_or_folder_gets_another_template(
    make_slot: MakeSlot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A child sees the environment and the current folder of this process at its start."""
    make_slot()
    monkeypatch.setenv("HEADRACE_TEST_WORD", "changed")
    slot = make_slot()
    assert len(templates._templates) == 2
    assert read_environment(get_pid(slot))["HEADRACE_TEST_WORD"] == "changed"
    monkeypatch.chdir(tmp_path)
    slot = make_slot()
    assert len(templates._templates) == 3
    assert Path(f"/proc/{get_pid(slot)}/cwd").readlink() == tmp_path


def test_template_without_children_ends_and_is_forgotten(make_slot: MakeSlot) -> None:
    slots = [make_slot(), make_slot()]
    first = get_template()
    slots[0].close()
    assert first._children == 1
    slots[1].close()
    wait_until(lambda: not first._is_running(), "the end of the template")
    assert not first.is_needed
    make_slot(ThreadedStage(make_reporting_stage().params))
    assert get_template() is not first


@pytest.mark.parametrize(("message", "attribute"), [(Imported(""), "_IDLE_SECONDS"), (Rest(), "_REST_SECONDS")])
def test_template_serves_no_longer_than_it_is_used(
    monkeypatch: pytest.MonkeyPatch, message: object, attribute: str
) -> None:
    monkeypatch.setattr(template, attribute, 0.01)
    ours, theirs = Pipe()
    with ours, theirs:
        ours.send(message)
        assert template.serve(theirs) is None


def test_template_that_was_started_ahead_waits_for_its_first_child(
    make_slot: MakeSlot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(template, "_IDLE_SECONDS", 0.01)
    starting.warm_template(make_reporting_stage())
    wait_until(lambda: bool(get_template()._is_running()), "the start of the template")
    before = get_template_pid()
    assert isinstance(run_item(make_slot()), Finished)
    assert get_template_pid() == before


def test_template_that_was_dropped_is_not_started_ahead(make_slot: MakeSlot) -> None:
    """The run ends before the thread that starts the template has begun."""
    make_slot().close()
    dropped = get_template()
    templates.end_unused_templates()
    dropped.warm()
    assert not dropped._is_running()


def test_template_ends_with_its_pipe() -> None:
    ours, theirs = Pipe()
    ours.close()
    with theirs:
        assert template.serve(theirs) is None


@pytest.mark.parametrize("victim", ["flow", "flow and watchdog"])
def test_killed_flow_leaves_no_template_and_no_child(tmp_path: Path, victim: str) -> None:
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        [sys.executable, "-c", FLOW, str(tmp_path)], env=child_environment(**{MARK: mark}), stdout=subprocess.PIPE
    ) as flow:
        try:
            assert flow.stdout is not None
            assert flow.stdout.readline() == b"started\n"
            processes = find_processes(mark)
            assert sum(TEMPLATE in words for words in processes.values()) == 1
            assert sum(CHILD in words for words in processes.values()) == 2
            if victim == "flow and watchdog":
                (watchdog,) = (pid for pid, words in processes.items() if "watchdog.py" in words)
                os.kill(watchdog, signal.SIGKILL)
        finally:
            flow.kill()
    wait_until_gone(mark)


def test_many_slots_open_at_the_same_time(tmp_path: Path, make_slot: MakeSlot) -> None:
    make_slot()
    slots = [Slot(make_reporting_stage(), str(number), tmp_path / str(number), number) for number in range(12)]
    for slot in slots:
        slot.log.touch()
    threads = [threading.Thread(target=slot.open) for slot in slots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len({get_pid(slot) for slot in slots}) == len(slots)
        assert get_template()._children == len(slots) + 1
    finally:
        for slot in slots:
            slot.close()
