"""Test outcomes: their creation from records and failures, compact storage, and counts."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from tasks.engine.contract.items import Item
from tasks.engine.store.outcomes import Counts, Failure, Outcome, Outcomes, Output, Record, Try, Usage

USAGE = Usage(1.5, 2.5, 0.5, 4096, "host-01")
RECORD = Record("a", "frames", 3, "key", (Output("a/1.jpg", 7, "0" * 64),), {"n": 1}, {"d": 2}, USAGE, 2, "run-1")
FAILURE = Failure("b", "frames", "key", "timeout", "no result", 3, USAGE, "run-2", True, ".headrace/logs/frames/b.log")


def create_outcome(item_id: str, name: str = "") -> Outcome:
    return Outcome(item_id, "frames", "remaining", name=name)


def create_full_outcome() -> Outcome:
    """Return an outcome in which no field has its default."""
    return Outcome(
        "a", "frames", "failed", 3, USAGE, "run", ("x", "y"), {"n": [1.0], "t": "é"}, "crash", "m", "l", True, "N", "p"
    )


def test_attempt_is_one_line() -> None:
    """The line has the UTC time, outcome, seconds, run, and the message of a failure."""
    started = Usage(started_at=1_700_000_000.9, seconds=12.345)
    assert Try("run-1", "done", started).line() == "2023-11-14T22:13:20+00:00  done  12.35 s  run run-1"
    failed = Try("run-1", "failed", started, "crash: gone").line()
    assert failed == "2023-11-14T22:13:20+00:00  failed  12.35 s  run run-1  crash: gone"


def test_records_and_failures_become_attempts_of_the_history() -> None:
    assert RECORD.to_attempt() == Try("run-1", "done", USAGE)
    assert FAILURE.to_attempt() == Try("run-2", "failed", USAGE, "timeout: no result")


def test_record_becomes_a_done_or_cached_outcome() -> None:
    made = Outcome.of_record(RECORD)
    assert made == Outcome(
        "a", "frames", "done", 2, USAGE, "run-1", ("a/1.jpg",), {"n": 1}, output_bytes=made.output_bytes
    )
    assert made.output_bytes == sum(output.size_bytes for output in RECORD.outputs) > 0
    assert Outcome.of_record(RECORD, "cached").outcome == "cached"
    assert Outcomes([made])[0].output_bytes == 0, "it is not kept"


def test_failure_becomes_an_outcome_with_its_reason() -> None:
    assert Outcome.of_failure(FAILURE) == Outcome(
        "b",
        "frames",
        "failed",
        3,
        USAGE,
        "run-2",
        failure_kind="timeout",
        message="no result",
        log=".headrace/logs/frames/b.log",
        transient=True,
    )


def test_outcome_gets_name_and_path_of_its_item() -> None:
    named = create_outcome("a").named(Item("a", name="Clip A", path="clips/a.mp4"))
    assert (named.name, named.path, named.title) == ("Clip A", "clips/a.mp4", "Clip A")
    assert create_outcome("a").title == "a"
    item = Item("a", name="Clip A", path="clips/a.mp4")
    assert Outcome.of_record(RECORD, "cached", item) == Outcome.of_record(RECORD, "cached").named(item)


def test_packed_outcomes_are_unpacked_unchanged() -> None:
    assert list(Outcomes([create_full_outcome(), create_outcome("b")])) == [create_full_outcome(), create_outcome("b")]
    assert Outcomes([create_full_outcome()])[0] == create_full_outcome()


def test_name_that_is_not_utf_8_is_escaped() -> None:
    kept = Outcomes([Outcome("a", "frames", "done", name="clip\udcff", path="in/\udcfe")])[0]
    assert (kept.name, kept.path) == ("clip\\udcff", "in/\\udcfe")


def test_outcomes_are_a_mutable_sequence() -> None:
    outcomes = Outcomes([create_outcome("a"), create_outcome("b")])
    outcomes.append(create_outcome("c"))
    outcomes.extend(Outcomes([create_outcome("d"), create_outcome("e")]))
    outcomes[1] = create_outcome("B")
    assert [each.id for each in outcomes] == ["a", "B", "c", "d", "e"]
    assert [each.id for each in outcomes[1:3]] == ["B", "c"]
    assert isinstance(outcomes[1:3], Outcomes)
    assert len(outcomes) == 5
    assert outcomes[-1].id == "e"


def test_only_failed_outcomes_are_returned_as_failed() -> None:
    """The text "failed" elsewhere in an outcome does not make it a failure."""
    looks_like_it = Outcome("a", "frames", "done", message='"failed"', values={"outcome?": "failed"})
    outcomes = Outcomes([looks_like_it, Outcome("b", "frames", "failed"), create_outcome("c")])
    assert [each.id for each in outcomes.failed()] == ["b"]


def test_picked_outcomes_are_in_the_given_order() -> None:
    outcomes = Outcomes([create_outcome("a"), create_outcome("b"), create_outcome("c")])
    assert [each.id for each in outcomes.picked([2, 0])] == ["c", "a"]


def test_counts_add_up() -> None:
    kinds = ["done", "done", "cached", "failed", "failed", "failed", "remaining"]
    counts = Counts.of([Outcome("x", "frames", kind) for kind in kinds])  # type: ignore[arg-type]
    assert counts == Counts(done=2, cached=1, failed=3, remaining=1)
    assert counts.total == 7
    assert counts + Counts(1, 20, 300, 4000) == Counts(3, 21, 303, 4001)


@pytest.mark.parametrize("path", ["logs/frames/b.log", ".headrace/logs/../lock", ".headrace/records/b.json", "/etc/x"])
def test_failure_with_an_invalid_log_path_is_refused(path: str) -> None:
    adapter = TypeAdapter(Failure)
    assert adapter.validate_json(adapter.dump_json(FAILURE)) == FAILURE
    forged = adapter.dump_json(FAILURE).replace(b".headrace/logs/frames/b.log", path.encode())
    with pytest.raises(ValidationError, match="error, not the path of a log"):
        adapter.validate_json(forged)


def test_invalid_values_and_outputs_of_a_record_are_named() -> None:
    adapter = TypeAdapter(Record)
    content = adapter.dump_json(RECORD)
    assert adapter.validate_json(content) == RECORD
    with pytest.raises(ValidationError, match="error, values with the names of common columns"):
        adapter.validate_json(content.replace(b'"n":1', b'"outcome":1'))
    with pytest.raises(ValidationError, match="error, not the path of an output"):
        adapter.validate_json(content.replace(b"a/1.jpg", b"summary.json"))


def test_waiting_items_are_kept_without_an_outcome_of_their_own() -> None:
    outcomes = Outcomes(stage="frames")
    for item_id in ("a", "b", "c"):
        outcomes.append_waiting(Item(item_id, name=item_id.upper(), path=f"in/{item_id}"))
    waiting = [Outcome(name, "frames", "remaining", name=name.upper(), path=f"in/{name}") for name in ("a", "b", "c")]
    assert list(outcomes) == waiting
    outcomes[1] = Outcome("b", "frames", "failed", failure_kind="crash")
    assert [outcome.outcome for outcome in outcomes] == ["remaining", "failed", "remaining"]
    assert [outcome.id for outcome in outcomes.failed()] == ["b"]
    assert outcomes.tally() == Counts(failed=1, remaining=2)
    assert [outcome.id for outcome in outcomes.picked([2, 0])] == ["c", "a"]
    assert list(outcomes[2:]) == waiting[2:]
    others = Outcomes([create_outcome("d")])
    others.extend(outcomes)
    assert [outcome.stage for outcome in others] == [create_outcome("d").stage, *["frames"] * 3]
    assert list(others)[3] == waiting[2]
