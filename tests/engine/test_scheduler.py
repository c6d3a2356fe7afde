"""Test the order of items, their dependencies, retries and limits, with a clock that the tests control."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engine.contract.errors import BadInput, InvalidInput, Problem, RunError
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph, Whole
from tasks.engine.store.outcomes import FailureKind, Outcome, Record
from tests.engine.simulation import MIB, Simulation, create_items, create_stage, follow


def build_single(*ids: str) -> Graph:
    graph = Graph()
    graph.node(create_stage("only"), create_items(*ids))
    return graph


def build_chain(*ids: str, keeps: bool = True, text: str = "text", scratch_bytes: int | None = None) -> Graph:
    """Return the graph first -> second, one to one."""
    graph = Graph(scratch_bytes)
    first = graph.node(create_stage("first", text=text), create_items(*ids), keeps=keeps)
    graph.node(create_stage("second"), after=first, each=follow)
    return graph


def make_whole(item_id: str, parts: int = 2, parts_bytes: int = 0, payload: object = None, cost: float = 1.0) -> Whole:
    item = Item(item_id, {"from": payload}, cost=cost)
    return Whole(item, lambda: [Item(f"{item_id}-{n}", {"from": payload}) for n in range(parts)], parts_bytes)


def build_wholes(*wholes: Whole, keeps: bool = False, scratch_bytes: int | None = None) -> Graph:
    graph = Graph(scratch_bytes)
    parts = graph.parts(create_stage("part"), keeps=keeps)
    graph.node(create_stage("whole"), wholes, parts=parts)
    return graph


def test_stages_that_come_next_are_those_after_running_items(tmp_path: Path) -> None:
    graph = Graph()
    first = graph.node(create_stage("first"), create_items("a"))
    parts = graph.parts(create_stage("part"), after=first)
    whole = graph.node(create_stage("whole"), after=first, each=lambda done: make_whole(done.id), parts=parts)
    graph.node(create_stage("shown"), after=whole, each=follow)
    run = Simulation(tmp_path, graph)
    coming: list[str] = []
    while key := run.take():
        coming.append(" ".join([key, *(stage.name for stage in run.scheduler.list_coming_stages())]))
        run.finish(key)
    assert coming == ["first/a part whole", "part/a-0 whole", "part/a-1 whole", "whole/a shown", "shown/a"]
    assert not run.scheduler.list_coming_stages()


# Outages


def test_run_stops_when_different_items_in_a_row_fail_transiently(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = build_single(*"abcdef")
    monkeypatch.setattr(graph.nodes[0].stage, "max_failing", 2, raising=False)
    run = Simulation(tmp_path, graph, retries=1)
    taken = [run.take() for _ in range(4)]
    run.fail(str(taken[0]), "error", True)
    run.fail(str(taken[1]), "bad_input", False)
    run.fail(str(taken[2]), "error", True)
    assert run.scheduler.obstacle is None, "the service answered between the two"
    run.fail(str(taken[3]), "error", True)
    told = str(run.scheduler.obstacle)
    assert told.startswith("2 items of only in a row failed (")
    assert told.endswith("; the service may be down: run the same command again later to continue")


# Retries


@pytest.mark.parametrize(
    ("kind", "transient", "again"),
    [
        ("crash", False, True),
        ("timeout", False, True),
        ("out_of_memory", False, True),
        ("error", True, True),
        ("error", False, False),
        ("bad_input", False, False),
    ],
)
def test_transient_failures_are_retried(tmp_path: Path, kind: FailureKind, transient: bool, again: bool) -> None:
    run = Simulation(tmp_path, build_single("a"), retries=1)
    assert run.take() == "only/a"
    assert run.fail("only/a", kind, transient) is not again
    assert run.scheduler.is_finished is not again
    if again:
        assert not run.settled
        run.clock.now += 100
        assert run.take() == "only/a"
        assert run.running["only/a"][1].attempts == 1
        assert run.fail("only/a", kind, transient)
        assert run.scheduler.is_finished
    assert run.settled["only/a"].failure_kind == kind
    assert run.settled["only/a"].attempts == 1 + again


def test_retry_wait_is_randomized_around_its_base(tmp_path: Path) -> None:
    waits = []
    for seed in range(50):
        run = Simulation(tmp_path, build_single("a"), seed=seed, retries=20)
        run.take()
        run.fail("only/a", "timeout")
        waits.append(run.scheduler.wait_seconds())
    assert all(wait is not None and 0.5 <= wait <= 1.5 for wait in waits)
    assert len(set(waits)) == 50


def test_retry_wait_doubles_up_to_a_minute(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_single("a"), retries=20)
    for earlier in range(12):
        assert run.take() == "only/a"
        run.fail("only/a", "timeout")
        wait = run.scheduler.wait_seconds()
        assert wait is not None
        base = min(60.0, 2.0**earlier)
        assert 0.5 * base <= wait <= 1.5 * base
        assert run.take() is None, "not before the wait is over"
        run.clock.now += wait


def test_no_wait_for_a_retry_that_is_due_or_will_not_come(tmp_path: Path) -> None:
    """A loop whose slots are all busy, and that waited 0 s for a retry, would burn a core."""
    run = Simulation(tmp_path, build_single("a"), retries=1)
    run.take()
    run.fail("only/a", "crash")
    assert run.scheduler.wait_seconds() is not None
    run.clock.now += 100
    assert run.scheduler.wait_seconds() is None
    run = Simulation(tmp_path, build_single("a"), retries=1)
    run.take()
    run.fail("only/a", "crash")
    run.scheduler.stop()
    assert run.scheduler.wait_seconds() is None


def test_out_of_memory_item_is_retried_alone_at_the_end(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_single("hungry", "crashed", "good"), retries=1)
    assert len(run.take_all()) == 3
    run.fail("only/hungry", "out_of_memory")
    run.fail("only/crashed", "crash")
    assert run.take() is None
    run.finish("only/good")
    assert run.take() is None, "the crashed item comes first"
    run.clock.now += 100
    assert run.take_all() == ["only/crashed"]
    assert not run.running["only/crashed"][1].alone
    run.finish("only/crashed")
    assert run.scheduler.count_useful_slots("cpu") == 1
    assert run.take_all() == ["only/hungry"]
    assert run.running["only/hungry"][1].alone
    run.finish("only/hungry")
    assert run.scheduler.is_finished


def test_nothing_runs_next_to_an_item_that_is_alone(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b"), retries=1)
    assert run.take_all() == ["first/a", "first/b"]
    run.fail("first/a", "out_of_memory")
    run.fail("first/b", "out_of_memory")
    assert run.take_all() == ["first/a"], "one alone at a time"
    assert run.scheduler.count_useful_slots("cpu") == 1
    run.finish("first/a")
    assert run.take_all() == ["second/a"], "an item that is ready comes before the other one that is alone"
    run.finish("second/a")
    assert run.run() == ["first/b", "second/b"]


def test_item_of_a_lost_worker_is_queued_again_without_an_attempt(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_single("a", "b"))
    assert run.take_all() == ["only/a", "only/b"]
    run.finish("only/a")
    del run.running["only/b"]
    run.scheduler.put_back("only", ["a", "b", "unknown"])
    assert not run.scheduler.is_finished
    assert run.take_all() == ["only/b"]
    assert run.running["only/b"][1].attempts == 0
    run.finish("only/b")
    assert run.scheduler.is_finished


def test_stopped_scheduler_hands_out_nothing(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b", "c"), retries=5)
    run.take()
    run.take()
    run.scheduler.stop()
    assert run.take() is None
    assert run.scheduler.count_useful_slots("cpu") == 2
    is_over = run.scheduler.is_finished
    assert not is_over, "two items are still in flight"
    assert run.fail("first/a", "crash"), "the failure is final: no retry follows"
    run.finish("first/b")
    assert run.scheduler.is_finished
    assert [outcome.outcome for outcome in run.scheduler.collect_outcomes()] == [
        "failed", "done", "remaining", "remaining"
    ]  # fmt: skip
    assert not run.scheduler.is_complete(run.scheduler.graph.nodes[0])


# Dependencies


def test_one_to_one(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b"))
    assert run.run() == ["first/a", "second/a", "first/b", "second/b"]
    assert run.count("done") == 4
    assert all(run.scheduler.is_complete(node) for node in run.scheduler.graph.nodes)


def test_one_to_many(tmp_path: Path) -> None:
    graph = Graph()
    first = graph.node(create_stage("first"), create_items("a", "b"))
    graph.node(create_stage("piece"), after=first, split=lambda done: [Item(f"{done.id}-{n}") for n in range(2)])
    run = Simulation(tmp_path, graph)
    assert run.run() == ["first/a", "piece/a-0", "piece/a-1", "first/b", "piece/b-0", "piece/b-1"]


def test_many_to_one(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a"), make_whole("b")))
    assert run.take_all() == ["part/a-0", "part/a-1", "part/b-0", "part/b-1"]
    run.finish("part/a-1")
    assert run.take() is None, "one part of each whole is missing"
    run.finish("part/b-0")
    run.finish("part/b-1")
    assert run.take_all() == ["whole/b"]
    run.finish("part/a-0")
    assert run.run() == ["whole/a"]


def build_tables(*ids: str) -> tuple[Graph, list[list[str]]]:
    """Return the graph first -> table -> index, and the ids that each collection was made from."""
    collected: list[list[str]] = []

    def collect(records: Iterable[Record]) -> list[Item]:
        found = [record.id for record in records]
        collected.append(found)
        return [Item("table", {"of": found})]

    graph = Graph()
    first = graph.node(create_stage("first"), create_items(*ids))
    table = graph.table(create_stage("table"), after=first, collect=collect)
    graph.table(create_stage("index"), after=table, collect=collect)
    return graph, collected


def test_all_to_one_waits_for_all_items_and_leaves_out_failed_ones(tmp_path: Path) -> None:
    graph, collected = build_tables("a", "b", "c")
    run = Simulation(tmp_path, graph, order="lightest")
    assert run.run(3, {"first/b": "bad_input"}) == ["first/a", "first/b", "first/c", "table/table", "index/table"]
    assert collected == [["a", "c"], ["table"]]
    assert run.count("failed") == 1


def test_table_of_nothing_is_made(tmp_path: Path) -> None:
    graph, collected = build_tables()
    run = Simulation(tmp_path, graph)
    assert run.run() == ["table/table", "index/table"]
    assert collected == [[], ["table"]]


def test_no_table_is_made_while_items_are_left(tmp_path: Path) -> None:
    graph, collected = build_tables("a", "b")
    run = Simulation(tmp_path, graph, max_items=1)
    assert run.run() == ["first/a"]
    assert not run.scheduler.is_complete(graph.nodes[0])
    run.end()
    assert collected == []
    again = Simulation(tmp_path, build_tables("a", "b")[0])
    assert again.run() == ["first/b", "table/table", "index/table"]


def test_result_of_a_former_table_is_removed(tmp_path: Path) -> None:
    def build(*names: str) -> Graph:
        graph = Graph()
        first = graph.node(create_stage("first"), create_items("a"))
        graph.table(create_stage("table"), after=first, collect=lambda _: create_items(*names))
        return graph

    run = Simulation(tmp_path, build("old", "same"))
    run.run()
    run.end()
    again = Simulation(tmp_path, build("same", "new"))
    assert again.run() == ["table/new"]
    again.end()
    assert again.list_files("table") == ["new", "same"]


# Order


def test_work_that_was_started_is_finished_first(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b", "c"))
    assert run.run(2) == ["first/a", "first/b", "second/a", "second/b", "first/c", "second/c"]


def test_started_whole_is_finished_before_the_next_is_started(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a", 4), make_whole("b", 4)))
    started = run.run(2)
    assert started == [*(f"part/a-{n}" for n in range(4)), "part/b-0", "whole/a", *(f"part/b-{n}" for n in (1, 2, 3)),
                       "whole/b"]  # fmt: skip


def test_whole_that_becomes_known_later_does_not_overtake_a_started_one(tmp_path: Path) -> None:
    graph = Graph()
    first = graph.node(create_stage("first"), create_items("a", "b"))
    parts = graph.parts(create_stage("part"), after=first)
    graph.node(create_stage("whole"), after=first, each=lambda done: make_whole(done.id, 3), parts=parts)
    run = Simulation(tmp_path, graph)
    assert [run.take(), run.take()] == ["first/a", "first/b"]
    run.finish("first/b")
    assert run.take() == "part/b-0"
    run.finish("first/a")
    assert run.run() == ["part/b-1", "part/b-2", "whole/b", "part/a-0", "part/a-1", "part/a-2", "whole/a"]


def test_priority_comes_before_depth(tmp_path: Path) -> None:
    graph = Graph()
    items = [Item("low", fields={"rank": 1}), Item("high", fields={"rank": 2}), Item("none")]
    first = graph.node(create_stage("first"), items)
    graph.node(create_stage("second"), after=first, each=follow)
    run = Simulation(tmp_path, graph, priority="rank")
    assert run.take_all() == ["first/high", "first/low", "first/none"]
    for key in ("first/none", "first/low"):
        run.finish(key)
    run.scheduler.put_back("first", ["high"])
    del run.running["first/high"]
    assert run.run() == ["first/high", "second/high", "second/low", "second/none"]


@pytest.mark.parametrize(("order", "expected"), [("heaviest", "bca"), ("lightest", "acb"), ("manifest", "abc")])
def test_wholes_start_by_order(tmp_path: Path, order: str, expected: str) -> None:
    wholes = [make_whole(name, 1, cost=cost) for name, cost in [("a", 1.0), ("b", 9.0), ("c", 4.0)]]
    run = Simulation(tmp_path, build_wholes(*wholes), order=order)
    assert run.run() == [key for name in expected for key in (f"part/{name}-0", f"whole/{name}")]
    assert [outcome.id for outcome in run.scheduler.run_of(run.scheduler.graph.nodes[1]).sorted_outcomes()] == [*"abc"]


def test_outcomes_are_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    graph = Graph()
    items = [Item(name, cost=cost) for name, cost in [("a", 1.0), ("b", 3.0), ("c", 2.0)]]
    first = graph.node(create_stage("first"), items)
    split: Callable[[Done], list[Item]] = lambda done: [Item(f"{done.id}-{n}") for n in range(2)]  # noqa: E731
    second = graph.node(create_stage("second"), after=first, split=split)
    run = Simulation(tmp_path, graph)
    run.run(2)
    assert [outcome.id for outcome in run.scheduler.run_of(first).sorted_outcomes()] == ["a", "b", "c"]
    expected = ["a-0", "a-1", "b-0", "b-1", "c-0", "c-1"]
    assert [outcome.id for outcome in run.scheduler.run_of(second).sorted_outcomes()] == expected
    assert [record.id for record in run.scheduler.run_of(second).records()] == expected


def test_lease_keeps_its_stage_only_if_it_may(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b", "c"))
    run.take()
    run.finish("first/a")
    assert run.take(only="first") is None, "an item of a later stage is next"
    assert run.take(only="first", prefer="first") == "first/b"
    assert run.take(only="second") == "second/a"


# Failures


def test_failed_part_fails_its_whole_and_nothing_else(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a"), make_whole("b")), retries=3)
    started = run.run(2, {"part/a-0": "bad_input"})
    assert "whole/a" not in started
    assert "part/a-1" in started
    assert run.settled["whole/a"].failure_kind == "upstream"
    assert run.settled["whole/a"].message == "a-0 failed"
    assert (run.count("failed"), run.count("upstream"), run.count("done")) == (1, 1, 4)
    run.end()
    assert run.list_files("part") == ["a-1"], "the next run needs it"
    again = Simulation(tmp_path, build_wholes(make_whole("a"), make_whole("b")))
    assert again.run() == ["part/a-0", "whole/a"]
    again.end()
    assert again.list_files("part") == []


def test_nothing_follows_from_a_failed_item(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b"))
    assert run.run(1, {"first/a": "error"}) == ["first/a", "first/b", "second/b"]
    assert run.count("failed") == 1
    assert run.scheduler.is_finished


@pytest.mark.parametrize("error", [BadInput("the tape is torn"), InvalidInput([Problem("preset", "x", "a preset")])])
def test_refused_item_fails_with_the_reason(tmp_path: Path, error: Exception) -> None:
    def refuse(done: Done) -> Item:
        if done.id == "a":
            raise error
        return follow(done)

    graph = Graph()
    first = graph.node(create_stage("first"), create_items("a", "b"))
    graph.node(create_stage("second"), after=first, each=refuse)
    run = Simulation(tmp_path, graph)
    run.take()
    run.finish("first/a")
    assert run.take() == "second/a"
    refused = run.running["second/a"][1].item
    assert (refused.refusal, refused.payload) == (str(error), {})
    run.fail("second/a")
    assert run.run() == ["first/b", "second/b"]
    assert run.count("failed") == 1


def test_ids_that_collide_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="would get the same file name"):
        Simulation(tmp_path, build_single("a", "A"))
    graph = Graph()
    first = graph.node(create_stage("first"), create_items("a", "b"))
    graph.node(create_stage("second"), after=first, each=lambda _: Item("same"))
    run = Simulation(tmp_path, graph)
    with pytest.raises(RunError, match="second: 'same' and 'same' would get the same file name"):
        run.run()
    two_stages = Graph()
    two_stages.node(create_stage("first"), create_items("a"))
    two_stages.node(create_stage("other"), create_items("A"))
    assert len(Simulation(tmp_path / "other", two_stages).run()) == 2


def test_stages_of_a_graph_have_different_names() -> None:
    graph = build_single("a")
    with pytest.raises(ValueError, match="two stages named only"):
        graph.node(create_stage("only"))
    with pytest.raises(ValueError, match="give after with one of"):
        graph.node(create_stage("second"), after=graph.nodes[0])


def test_outcome_that_two_threads_settle_counts_once(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a"))
    run.take()
    outcome = run.write("first/a")
    barrier, results = threading.Barrier(8), list[bool]()

    def settle() -> None:
        barrier.wait(10)
        results.append(run.scheduler.settle(outcome))

    threads = [threading.Thread(target=settle) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    run.running.clear()
    assert sorted(results) == [False] * 7 + [True]
    assert run.run() == ["second/a"]


def test_second_thread_does_not_settle_an_item_that_is_being_settled(tmp_path: Path) -> None:
    """The items that follow are planned without the lock: another thread may settle the same item meanwhile."""
    results: list[bool] = []
    graph = Graph()
    first = graph.node(create_stage("first"), create_items("a"))

    def settle_meanwhile(done: Done) -> Item:
        if not results:
            results.append(True)
            thread = threading.Thread(
                target=lambda: results.append(run.scheduler.settle(Outcome.of_record(done.record)))
            )
            thread.start()
            thread.join(10)
        return follow(done)

    graph.node(create_stage("second"), after=first, each=settle_meanwhile)
    run = Simulation(tmp_path, graph)
    run.take()
    outcome = run.write("first/a")
    assert run.settle("first/a", outcome) is False, "the other thread was faster"
    assert results == [True, True]
    assert run.run() == ["second/a"]


# Resume


def test_whole_that_is_done_needs_no_parts(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a")))
    run.run()
    run.end()
    assert run.list_files("part") == []

    def make_parts() -> list[Item]:
        raise AssertionError("the whole is done")

    again = Simulation(tmp_path, build_wholes(replace(make_whole("a"), make_parts=make_parts)))
    assert again.scheduler.is_finished
    assert again.count("cached") == 1


def test_part_that_is_done_is_not_run_again(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a", 3)))
    run.take()
    run.finish("part/a-0")
    again = Simulation(tmp_path, build_wholes(make_whole("a", 3)))
    assert again.run() == ["part/a-1", "part/a-2", "whole/a"]


def test_change_of_a_root_reruns_what_follows_and_nothing_else(tmp_path: Path) -> None:
    def build(text: str) -> Graph:
        graph = Graph()
        roots = [Item("a", {"text": text}), Item("b")]
        first = graph.node(create_stage("first"), roots)
        second = graph.node(create_stage("second"), after=first, each=follow)
        graph.node(create_stage("third"), after=second, each=follow)
        return graph

    assert len(Simulation(tmp_path, build("old")).run()) == 6
    assert Simulation(tmp_path, build("old")).run() == []
    assert Simulation(tmp_path, build("new")).run() == ["first/a", "second/a", "third/a"]


def test_rerun_with_the_same_result_ends_there(tmp_path: Path) -> None:
    Simulation(tmp_path, build_chain("a", "b")).run()
    (tmp_path / "first/a.txt").unlink()
    assert Simulation(tmp_path, build_chain("a", "b")).run() == ["first/a"], "the digests are the same"


def test_max_items_counts_root_items_with_what_follows(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b", "c"), max_items=2)
    assert run.run() == ["first/a", "second/a", "first/b", "second/b"]
    assert [outcome.outcome for outcome in run.scheduler.run_of(run.scheduler.graph.nodes[0]).outcomes] == [
        "done", "done", "remaining"
    ]  # fmt: skip
    (tmp_path / "second/a.txt").unlink()
    again = Simulation(tmp_path, build_chain("a", "b", "c"), max_items=1)
    assert again.run() == ["second/a"], "a is pending because of its second stage; c is left"


# Removal


def build_pruned(*ids: str, middle: bool = False) -> Graph:
    graph = Graph()
    first = graph.node(create_stage("first"), create_items(*ids))
    source = graph.node(create_stage("middle"), after=first, each=follow) if middle else first
    graph.node(
        create_stage("piece"), after=source, split=lambda done: [Item(f"{done.id}-{n}") for n in range(2)], prunes=True
    )
    return graph


def test_results_of_items_that_do_not_exist_any_more_are_pruned(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_pruned("a", "b"))
    run.run()
    run.end()
    again = Simulation(tmp_path, build_pruned("a"))
    again.run()
    again.end()
    assert again.list_files("piece") == ["a-0", "a-1"]
    assert again.list_files("first") == ["a", "b"], "results of root items are the user's"


@pytest.mark.parametrize("middle", [False, True])
def test_nothing_is_pruned_if_an_item_before_failed(tmp_path: Path, middle: bool) -> None:
    run = Simulation(tmp_path, build_pruned("a", "b", middle=middle))
    run.run()
    run.end()
    (tmp_path / "first/a.txt").unlink()
    again = Simulation(tmp_path, build_pruned("a", "b", middle=middle))
    again.run(1, {"first/a": "bad_input"})
    again.end()
    assert again.list_files("piece") == ["a-0", "a-1", "b-0", "b-1"]


def test_nothing_is_pruned_if_items_are_left(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_pruned("a", "b"))
    run.run()
    run.end()
    (tmp_path / "first/a.txt").unlink()
    (tmp_path / "first/b.txt").unlink()
    again = Simulation(tmp_path, build_pruned("a", "b"), max_items=1)
    assert again.run() == ["first/a"]
    again.end()
    assert again.list_files("piece") == ["a-0", "a-1", "b-0", "b-1"]


def test_parts_of_a_whole_that_stays_failed_are_kept(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a")))
    run.run(1, {"whole/a": "error"})
    run.end()
    assert run.list_files("part") == ["a-0", "a-1"]
    kept = Simulation(tmp_path, build_wholes(make_whole("a")), keep_failed=True)
    assert kept.run() == []
    kept.end()
    assert kept.list_files("part") == ["a-0", "a-1"]
    assert Simulation(tmp_path, build_wholes(make_whole("a"))).run() == ["whole/a"]


def test_parts_that_a_killed_run_had_joined_are_removed_even_if_another_whole_fails(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a"), make_whole("b")))
    for key in ("part/a-0", "part/a-1", "whole/a"):
        assert run.take() == key
        run.finish(key)
    assert run.list_files("part") == ["a-0", "a-1"], "killed before the clean-up"
    again = Simulation(tmp_path, build_wholes(make_whole("a"), make_whole("b")))
    again.run(1, {"part/b-1": "error"})
    again.end()
    assert again.list_files("part") == ["b-0"]


def test_part_of_a_finished_whole_with_the_id_of_a_needed_part_is_kept(tmp_path: Path) -> None:
    def make(item_id: str) -> Whole:
        return Whole(Item(item_id), lambda: [Item("common")])

    Simulation(tmp_path, build_wholes(make("a"), keeps=True)).run()
    run = Simulation(tmp_path, build_wholes(make("a"), make("b")))
    run.scheduler.clean_up()
    assert run.run() == ["whole/b"]


def test_part_that_a_stalled_worker_publishes_after_its_whole_is_removed(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a")))
    run.take()
    late = run.running["part/a-0"]
    run.scheduler.put_back("part", ["a-0"])
    del run.running["part/a-0"]
    run.run()
    run.running["part/a-0"] = late
    run.write("part/a-0")
    assert run.list_files("part") == ["a-0"]
    run.end()
    assert run.list_files("part") == []
    assert run.scheduler.nodes[0].store.ids() == set()


def test_output_that_a_stalled_worker_publishes_after_it_was_used_up_is_dropped(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", keeps=False))
    run.take()
    late = run.running["first/a"]
    run.finish("first/a")
    run.run()
    run.running["first/a"] = late
    run.write("first/a")
    run.end()
    assert run.list_files("first") == []
    assert Simulation(tmp_path, build_chain("a", keeps=False)).run() == []


def test_parts_are_kept_on_request(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a"), keeps=True))
    run.run()
    run.end()
    assert run.list_files("part") == ["a-0", "a-1"]


# Disk space


def test_whole_waits_while_parts_exceed_the_scratch_space(tmp_path: Path) -> None:
    wholes = [make_whole(name, 2, 60 * MIB) for name in "abc"]
    run = Simulation(tmp_path, build_wholes(*wholes, scratch_bytes=100 * MIB))
    assert run.take_all() == ["part/a-0", "part/a-1"], "the others wait for space"
    assert run.scheduler.obstacle is None
    assert not run.scheduler.is_finished
    for key in ("part/a-0", "part/a-1"):
        run.finish(key)
    assert run.take_all() == ["whole/a"]
    run.finish("whole/a")
    assert run.scheduler.obstacle is None, "the parts are still to be removed"
    assert not run.scheduler.is_finished
    run.scheduler.clean_up()
    assert run.list_files("part") == []
    assert run.run(4)[:2] == ["part/b-0", "part/b-1"]
    assert run.count("done") == 9


def test_whole_starts_when_one_that_has_started_fails(tmp_path: Path) -> None:
    wholes = [make_whole(name, 1, 60 * MIB) for name in "ab"]
    run = Simulation(tmp_path, build_wholes(*wholes, scratch_bytes=100 * MIB))
    assert run.run(2, {"part/a-0": "bad_input"}) == ["part/a-0", "part/b-0", "whole/b"]


def test_largest_whole_may_run_alone(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a", 2, 60 * MIB), scratch_bytes=1))
    assert run.run() == ["part/a-0", "part/a-1", "whole/a"]


def test_run_fails_if_no_whole_fits_on_the_disk(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_wholes(make_whole("a", 2, 2**60)))
    assert run.take() is None
    assert not run.scheduler.is_finished
    obstacle = run.scheduler.obstacle
    assert isinstance(obstacle, RunError)
    assert "has too little room" in str(obstacle)
    assert " a needs about" in str(obstacle)
    run.scheduler.stop()
    assert run.scheduler.is_finished


def test_outputs_are_dropped_once_they_are_used_up(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b", keeps=False))
    run.run(1, {"second/b": "error"})
    assert run.list_files("first") == ["b"], "the item that failed needs it in the next run"
    assert run.list_files("second") == ["a"]
    again = Simulation(tmp_path, build_chain("a", "b", keeps=False))
    assert again.run() == ["second/b"], "neither is fetched again"
    assert again.list_files("first") == []
    assert Simulation(tmp_path, build_chain("a", "b", keeps=False)).run() == []


def test_dropped_outputs_are_made_again_if_they_are_needed(tmp_path: Path) -> None:
    Simulation(tmp_path, build_chain("a", "b", keeps=False)).run()
    (tmp_path / "second/a.txt").unlink()
    again = Simulation(tmp_path, build_chain("a", "b", keeps=False))
    assert again.run() == ["first/a", "second/a"]
    assert again.list_files("first") == []


def test_outputs_are_dropped_if_nothing_follows_from_them(tmp_path: Path) -> None:
    def build() -> Graph:
        graph = Graph()
        first = graph.node(create_stage("first"), create_items("a"), keeps=False)
        graph.node(create_stage("second"), after=first, split=lambda _: [])
        return graph

    run = Simulation(tmp_path, build())
    assert run.run() == ["first/a"]
    assert run.list_files("first") == []
    assert Simulation(tmp_path, build()).run() == [], "not made again in every run"


def test_outputs_that_a_killed_run_had_used_up_are_dropped(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", keeps=False))
    for key in ("first/a", "second/a"):
        assert run.take() == key
        run.finish(key)
    assert run.list_files("first") == ["a"], "killed before the clean-up"
    again = Simulation(tmp_path, build_chain("a", keeps=False))
    assert again.scheduler.is_finished
    again.end()
    assert again.list_files("first") == []


def test_outputs_for_an_item_that_stays_failed_are_kept(tmp_path: Path) -> None:
    Simulation(tmp_path, build_chain("a", keeps=False)).run(1, {"second/a": "error"})
    kept = Simulation(tmp_path, build_chain("a", keeps=False), keep_failed=True)
    assert kept.run() == []
    kept.end()
    assert kept.list_files("first") == ["a"]


def test_no_more_outputs_are_made_than_may_wait(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b", "c", keeps=False, scratch_bytes=1))
    assert run.take() == "first/a"
    run.finish("first/a")
    assert run.take_all() == ["second/a"], "the disk space is used up"
    run.finish("second/a")
    assert run.take() is None
    run.scheduler.clean_up()
    assert run.take() == "first/b"


def test_outputs_of_failed_items_do_not_block_the_run(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b", keeps=False, scratch_bytes=1))
    assert run.run(1, {"second/a": "error"}) == ["first/a", "second/a", "first/b", "second/b"]


def test_item_that_runs_alone_is_not_blocked_by_full_scratch_space(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain("a", "b", keeps=False, scratch_bytes=1), retries=1)
    run.take()
    run.finish("first/a")
    run.take()
    run.fail("second/a", "out_of_memory")
    assert run.run() == ["second/a", "first/b", "second/b"]


def test_chain_of_dropped_outputs_runs_in_full_scratch_space(tmp_path: Path) -> None:
    graph = Graph(scratch_bytes=1)
    first = graph.node(create_stage("first"), create_items("a", "b"), keeps=False)
    second = graph.node(create_stage("second"), after=first, each=follow, keeps=False)
    graph.node(create_stage("third"), after=second, each=follow)
    run = Simulation(tmp_path, graph)
    assert run.run(1) == [f"{stage}/{name}" for name in "ab" for stage in ("first", "second", "third")]
    assert (run.list_files("first"), run.list_files("second")) == ([], [])


# Lanes and memory


def test_lanes_are_independent(tmp_path: Path) -> None:
    graph = Graph()
    fetched = graph.node(create_stage("fetch", "io"), create_items("a", "b", "c"))
    graph.node(create_stage("search"), after=fetched, each=follow)
    run = Simulation(tmp_path, graph)
    assert run.take("cpu") is None
    assert run.take("io") == "fetch/a"
    run.finish("fetch/a")
    assert run.take("cpu") == "search/a"
    assert run.take_all("io") == ["fetch/b", "fetch/c"], "while an item of the lane cpu runs"
    assert run.scheduler.count_useful_slots("io") == 2
    assert run.scheduler.count_useful_slots("cpu") == 1


def test_device_items_are_limited(tmp_path: Path) -> None:
    graph = Graph()
    graph.node(create_stage("cards", max_slots=2), create_items("a", "b", "c"))
    run = Simulation(tmp_path, graph)
    assert run.take_all("cpu") == []
    assert run.take_all("device") == ["cards/a", "cards/b"]
    run.finish("cards/a")
    assert run.take_all("device") == ["cards/c"]


def test_item_that_needs_much_memory_waits_for_others(tmp_path: Path) -> None:
    graph = Graph()
    items = [Item("small"), Item("huge", memory_bytes=900 * MIB, cost=0.5), Item("last", cost=0.1)]
    graph.node(create_stage("only"), items)
    run = Simulation(tmp_path, graph, memory_bytes=500 * MIB)
    assert run.take_all() == ["only/small"]
    assert run.scheduler.count_useful_slots("cpu") == 1
    run.finish("only/small")
    assert run.take_all() == ["only/huge"], "larger than the memory: it runs if nothing else does"
    run.finish("only/huge")
    assert run.take_all() == ["only/last"]


def test_lanes_share_memory(tmp_path: Path) -> None:
    graph = Graph()
    graph.node(create_stage("fetch", "io"), create_items("a", "b"))
    graph.node(create_stage("search"), create_items("c"))
    run = Simulation(tmp_path, graph, memory_bytes=130 * MIB)  # an item has 64 MiB
    assert run.take_all("io") == ["fetch/a", "fetch/b"]
    assert run.take("cpu") is None
    run.finish("fetch/a")
    assert run.take("cpu") == "search/c"


def test_no_more_slots_are_useful_than_items_fit_in_memory(tmp_path: Path) -> None:
    """Otherwise every item that ends starts as many leases as there are slots, which find nothing."""
    graph = Graph()
    graph.node(create_stage("first"), create_items(*(f"item-{number}" for number in range(50))))
    run = Simulation(tmp_path, graph, memory_bytes=200 * MIB)  # an item has 64 MiB
    assert run.scheduler.count_useful_slots("cpu") == 3
    run.scheduler.take("cpu")
    run.scheduler.take("cpu")
    assert run.scheduler.count_useful_slots("cpu") == 3
    run.scheduler.take("cpu")
    assert run.scheduler.take("cpu") is None
