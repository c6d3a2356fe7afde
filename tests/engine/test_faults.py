"""Run every kind of fault in one shard of one slot, with good items between.

The shard runs once for all tests of this module: real child processes and signals, no Prefect and no Dask.
"""

import json
import re
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from tasks.engine.contract.items import Item
from tasks.engine.planning.plan import PlannedItem
from tasks.engine.running.context import RunContext, ShardOrder
from tasks.engine.running.lease import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.running.watchdog import build_watched_environment
from tasks.engine.store.outcomes import Outcome
from tasks.engine.store.records import RecordStore
from tests.engine.faults import LEDGER, FaultParams, FaultStage
from tests.engine.processes import MARK, TEMPLATE, count_tries, find_processes, wait_until_gone

TIMEOUT_SECONDS = 3.0
CAP_BYTES = 200 << 20
HUNG = rf"no result within {TIMEOUT_SECONDS:g} s"

# Action of the item, kind of its failure, and its whole message.
FAULTS = {
    "hang_in_c": ("timeout", HUNG),
    "hang_asleep": ("timeout", HUNG),
    "hang_with_children": ("timeout", HUNG),
    "segfault": ("crash", r"the item's process ended by SIGSEGV"),
    "abort": ("crash", r"the item's process ended by SIGABRT"),
    "fork_and_die": ("crash", r"the item's process ended by SIGABRT"),
    "exit": ("crash", r"the item's process exited with code 7"),
    "exit_in_peace": ("crash", r"the item's process exited with code 0"),
    "kill_itself": ("crash", r"the item's process ended by SIGKILL"),
    "eat_memory": ("out_of_memory", r"used \d+ MiB of 200 MiB allowed"),
    "eat_memory_elsewhere": ("out_of_memory", r"used \d+ MiB of 200 MiB allowed"),
    "raise_memory_error": ("out_of_memory", r"MemoryError"),
    "raise": ("error", r"ValueError: first line second line"),
    "raise_without_words": ("error", r"ArithmeticError"),
    "raise_bad_input": ("bad_input", r"the tape is torn"),
    "raise_transient": ("error", r"the share is away"),
    "publish_a_link": ("error", r"ValueError: a stage may publish plain files only: link\.txt"),
    "publish_a_linked_folder": ("error", r"ValueError: a stage may publish plain files only: linked"),
    "publish_a_pipe": ("error", r"ValueError: a stage may publish plain files only: pipe"),
    "write_outside": ("error", r"ValueError: an output path must stay in the output folder: '\.\./outside\.txt'"),
    "give_an_object": ("error", r"TypeError: the stage's result cannot be kept in a record: .*<class 'object'>.*"),
    "give_a_function": ("error", r"TypeError: the stage's result cannot be kept in a record: .*<class 'function'>.*"),
    "give_nested_values": ("error", r"TypeError: the stage's result cannot be kept in a record: .*values\.nested.*"),
    "give_a_taken_name": (
        "error",
        r"ValueError: every row of items\.parquet has columns of these names: id, outcome; .*",
    ),
    "give_nothing": ("error", r"TypeError: the stage's result cannot be kept in a record: .*StageResult.*"),
    "talk": ("error", r"ValueError: said enough"),
}


@dataclass(frozen=True)
class ShardResult:
    """Results of the shard."""

    outcomes: dict[str, Outcome]
    reported: list[str]
    folder: Path
    ledger: Path
    left_while_open: dict[int, str]
    mark: str


@pytest.fixture(scope="module")
def shard_result(tmp_path_factory: pytest.TempPathFactory) -> ShardResult:
    folder, mark = tmp_path_factory.mktemp("faults"), uuid.uuid4().hex
    ledger, output_dir = folder / "ledger", folder / "output"
    items = [Item("good-first")]
    for action in FAULTS:
        items += [Item(action, {"do": action}), Item(f"good-after-{action}")]
    planned = tuple(PlannedItem(item, f"key of {item.id}", place) for place, item in enumerate(items))
    context = RunContext("run", output_dir, Limits(TIMEOUT_SECONDS, CAP_BYTES))
    reported: list[str] = []
    build_watched_environment()  # start this process's watchdog first, so that it does not inherit the mark
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LEDGER, str(ledger))
        patch.setenv(MARK, mark)
        order = ShardOrder(context, FaultStage(FaultParams()), planned)
        outcomes = run_shard(order, lambda outcome: reported.append(outcome.id))
        left = {pid: words for pid, words in find_processes(mark).items() if TEMPLATE not in words}
        close_slots("run")
    return ShardResult({outcome.id: outcome for outcome in outcomes}, reported, output_dir, ledger, left, mark)


@pytest.mark.parametrize("action", FAULTS)
def test_fault_has_its_kind_and_message(shard_result: ShardResult, action: str) -> None:
    failure = shard_result.outcomes[action]
    kind, message = FAULTS[action]
    assert (failure.outcome, failure.failure_kind) == ("failed", kind)
    assert re.fullmatch(message, failure.message), failure.message
    assert "\n" not in failure.message
    assert failure.attempts == 1
    assert failure.transient is (action == "raise_transient")
    assert failure.outputs == ()


@pytest.mark.parametrize("action", FAULTS)
def test_items_after_a_fault_are_done(shard_result: ShardResult, action: str) -> None:
    after = shard_result.outcomes[f"good-after-{action}"]
    assert after.outcome == "done", after.message
    content = f"good-after-{action} text\n"
    assert (shard_result.folder / f"made/good-after-{action}/note.txt").read_text() == content
    assert (shard_result.folder / f"made/good-after-{action}/more/data.bin").read_text() == content * 1000
    assert [path.rpartition("/")[2] for path in after.outputs] == ["data.bin", "note.txt"]


def test_every_item_is_started_once_and_reported_once_in_order(shard_result: ShardResult) -> None:
    assert shard_result.reported == list(shard_result.outcomes)
    assert set(count_tries(shard_result.ledger)) == set(shard_result.outcomes)
    assert set(count_tries(shard_result.ledger).values()) == {1}
    done = {name for name, outcome in shard_result.outcomes.items() if outcome.outcome == "done"}
    assert len(done) == len(FAULTS) + 1
    assert done <= set(count_tries(shard_result.ledger, "end"))


@pytest.mark.parametrize("action", [action for action, (kind, _) in FAULTS.items() if kind == "timeout"])
def test_hung_item_ends_at_its_timeout(shard_result: ShardResult, action: str) -> None:
    usage = shard_result.outcomes[action].usage
    assert TIMEOUT_SECONDS <= usage.seconds <= TIMEOUT_SECONDS + 60  # later on a busy machine
    assert usage.started_at + usage.seconds <= time.time()
    assert usage.slot


def test_files_of_faulty_items_are_not_published(shard_result: ShardResult) -> None:
    made = {path.name for path in (shard_result.folder / "made").iterdir()}
    assert made == {name for name, outcome in shard_result.outcomes.items() if outcome.outcome == "done"}
    assert not (shard_result.folder.parent / "outside.txt").exists()


def test_private_folder_keeps_only_the_log_and_mark_of_the_slot(shard_result: ShardResult) -> None:
    files = [path for path in (shard_result.folder / ".headrace/private").rglob("*") if path.is_file()]
    names = sorted(path.parent.name if path.parent.name == "marks" else path.suffix for path in files)
    assert names == [".log", "marks"]


def test_records_and_failures_match_the_outcomes(shard_result: ShardResult) -> None:
    store = RecordStore(RunContext("", shard_result.folder, Limits(1, 1)).layout, "faults")
    records, failures = store.load(), store.load_failures()
    assert set(failures) == set(FAULTS)
    assert set(records) == set(shard_result.outcomes) - set(FAULTS)
    assert all(Outcome.of_record(records[name]) == shard_result.outcomes[name] for name in records)
    assert all(Outcome.of_failure(failures[name]) == shard_result.outcomes[name] for name in failures)
    assert all(store.has_intact_outputs(record, "digest") for record in records.values())


def test_output_of_a_faulty_item_is_kept_in_its_log(shard_result: ShardResult) -> None:
    logs = {action: shard_result.outcomes[action].log for action in FAULTS}
    assert "Fatal Python error: Segmentation fault" in (shard_result.folder / logs["segfault"]).read_text()
    assert "faults.py" in (shard_result.folder / logs["raise"]).read_text()
    log = (shard_result.folder / logs["talk"]).read_bytes()
    assert len(log) == 64 * 1024
    assert log.endswith(b"ValueError: said enough\n")


@pytest.mark.parametrize("action", [action for action in FAULTS if action != "talk"])  # its log is truncated
def test_log_has_only_the_output_of_its_item(shard_result: ShardResult, action: str) -> None:
    """Items of one child process write to the same file; a good and often a faulty item came before."""
    log = (shard_result.folder / shard_result.outcomes[action].log).read_text(errors="replace")
    assert re.findall(r"this is (\S+)", log) == [action]


def test_peak_memory_includes_child_processes(shard_result: ShardResult) -> None:
    for action in ("eat_memory", "eat_memory_elsewhere"):
        assert shard_result.outcomes[action].usage.peak_memory_bytes > CAP_BYTES
    assert 0 < shard_result.outcomes["good-first"].usage.peak_memory_bytes < CAP_BYTES


def test_shard_leaves_no_process(shard_result: ShardResult) -> None:
    assert len(shard_result.left_while_open) <= 1, "only the slot's child may live on between shards"
    wait_until_gone(shard_result.mark)


def test_files_of_the_engine_are_valid_json(shard_result: ShardResult) -> None:
    for path in (shard_result.folder / ".headrace").rglob("*.json"):
        json.loads(path.read_bytes())
