"""Every way in which an item can go wrong, in one shard of one slot, with good items between.

The shard runs once for all tests of this module: real child processes, real signals, no Prefect and no Dask.
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
from tasks.engine.running.shard import run_shard
from tasks.engine.running.slot import Limits
from tasks.engine.running.slot_pool import close_slots
from tasks.engine.running.watchdog import build_watched_environment
from tasks.engine.store.outcomes import Outcome
from tasks.engine.store.records import RecordStore
from tests.engine.faults import LEDGER, FaultParams, FaultStage
from tests.engine.processes import MARK, count_tries, find_processes, wait_until_gone

TIMEOUT_SECONDS = 3.0
CAP_BYTES = 200 << 20
HUNG = rf"no result within {TIMEOUT_SECONDS:g} s"

# What the item does, the kind of its failure, and its whole message.
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
class Ran:
    """What the shard left."""

    outcomes: dict[str, Outcome]
    reported: list[str]
    folder: Path
    ledger: Path
    left_while_open: dict[int, str]
    mark: str


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder, mark = tmp_path_factory.mktemp("faults"), uuid.uuid4().hex
    ledger, output_dir = folder / "ledger", folder / "output"
    items = [Item("good-first")]
    for action in FAULTS:
        items += [Item(action, {"do": action}), Item(f"good-after-{action}")]
    planned = tuple(PlannedItem(item, f"key of {item.id}", place) for place, item in enumerate(items))
    context = RunContext("run", output_dir, Limits(TIMEOUT_SECONDS, CAP_BYTES))
    reported: list[str] = []
    build_watched_environment()  # the keeper of this process lives as long as it does: it is not to bear the mark
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LEDGER, str(ledger))
        patch.setenv(MARK, mark)
        order = ShardOrder(context, FaultStage(FaultParams()), planned)
        outcomes = run_shard(order, lambda outcome: reported.append(outcome.id))
        left = find_processes(mark)
        close_slots("run")
    return Ran({outcome.id: outcome for outcome in outcomes}, reported, output_dir, ledger, left, mark)


@pytest.mark.parametrize("deed", FAULTS)
def test_a_fault_is_told_by_its_kind_and_message(ran: Ran, action: str) -> None:
    failure = ran.outcomes[action]
    kind, message = FAULTS[action]
    assert (failure.outcome, failure.failure_kind) == ("failed", kind)
    assert re.fullmatch(message, failure.message), failure.message
    assert "\n" not in failure.message
    assert failure.attempts == 1
    assert failure.transient is (action == "raise_transient")
    assert failure.outputs == ()


@pytest.mark.parametrize("deed", FAULTS)
def test_the_neighbours_of_a_fault_are_done(ran: Ran, action: str) -> None:
    after = ran.outcomes[f"good-after-{action}"]
    assert after.outcome == "done", after.message
    content = f"good-after-{action} text\n"
    assert (ran.folder / f"made/good-after-{action}/note.txt").read_text() == content
    assert (ran.folder / f"made/good-after-{action}/more/data.bin").read_text() == content * 1000
    assert [path.rpartition("/")[2] for path in after.outputs] == ["data.bin", "note.txt"]


def test_every_item_was_started_once_and_reported_once_in_order(ran: Ran) -> None:
    assert ran.reported == list(ran.outcomes)
    assert set(count_tries(ran.ledger)) == set(ran.outcomes)
    assert set(count_tries(ran.ledger).values()) == {1}
    done = {name for name, outcome in ran.outcomes.items() if outcome.outcome == "done"}
    assert len(done) == len(FAULTS) + 1
    assert done <= set(count_tries(ran.ledger, "end"))


@pytest.mark.parametrize("deed", [action for action, (kind, _) in FAULTS.items() if kind == "timeout"])
def test_a_hang_ends_at_its_deadline(ran: Ran, action: str) -> None:
    usage = ran.outcomes[action].usage
    assert TIMEOUT_SECONDS <= usage.seconds <= TIMEOUT_SECONDS + 60  # late on a busy machine, but it ends
    assert usage.started_at + usage.seconds <= time.time()
    assert usage.slot


def test_what_a_faulty_item_wrote_is_not_published(ran: Ran) -> None:
    made = {path.name for path in (ran.folder / "made").iterdir()}
    assert made == {name for name, outcome in ran.outcomes.items() if outcome.outcome == "done"}
    assert not (ran.folder.parent / "outside.txt").exists()


def test_nothing_is_left_in_the_private_folder_but_the_slot_s_log_and_mark(ran: Ran) -> None:
    files = [path for path in (ran.folder / ".headrace/private").rglob("*") if path.is_file()]
    names = sorted(path.parent.name if path.parent.name == "marks" else path.suffix for path in files)
    assert names == [".log", "marks"]


def test_records_and_failures_say_the_same_as_the_outcomes(ran: Ran) -> None:
    store = RecordStore(RunContext("", ran.folder, Limits(1, 1)).layout, "faults")
    records, failures = store.load(), store.load_failures()
    assert set(failures) == set(FAULTS)
    assert set(records) == set(ran.outcomes) - set(FAULTS)
    assert all(Outcome.of_record(records[name]) == ran.outcomes[name] for name in records)
    assert all(Outcome.of_failure(failures[name]) == ran.outcomes[name] for name in failures)
    assert all(store.has_intact_outputs(record, "digest") for record in records.values())


def test_a_faulty_item_s_own_words_are_kept(ran: Ran) -> None:
    logs = {action: ran.outcomes[action].log for action in FAULTS}
    assert "Fatal Python error: Segmentation fault" in (ran.folder / logs["segfault"]).read_text()
    assert "faults.py" in (ran.folder / logs["raise"]).read_text()
    said = (ran.folder / logs["talk"]).read_bytes()
    assert len(said) == 64 * 1024
    assert said.endswith(b"ValueError: said enough\n")


@pytest.mark.parametrize("deed", [action for action in FAULTS if action != "talk"])  # which drowns its first line
def test_a_log_holds_the_words_of_its_item_and_of_no_other(ran: Ran, action: str) -> None:
    """Items of one child write into one file: before this one a good item has, and most often a faulty one too."""
    said = (ran.folder / ran.outcomes[action].log).read_text(errors="replace")
    assert re.findall(r"this is (\S+)", said) == [action]


def test_peak_memory_counts_what_the_item_s_own_processes_use(ran: Ran) -> None:
    for action in ("eat_memory", "eat_memory_elsewhere"):
        assert ran.outcomes[action].usage.peak_memory_bytes > CAP_BYTES
    assert 0 < ran.outcomes["good-first"].usage.peak_memory_bytes < CAP_BYTES


def test_no_process_is_left(ran: Ran) -> None:
    assert len(ran.left_while_open) <= 1, "only the slot's child may live on between shards"
    wait_until_gone(ran.mark)


def test_failures_are_plain_json(ran: Ran) -> None:
    for path in (ran.folder / ".headrace").rglob("*.json"):
        json.loads(path.read_bytes())
