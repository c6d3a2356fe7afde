"""Test the scheduler with random graphs and interruptions, and its quality, with a simulated clock."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph, Whole
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Outcome, Record, Usage
from tests.engine.simulation import MIB, Clock, Simulation, create_stage, follow


def build_random_graph(generator: random.Random, counts: Counter[str]) -> Graph:
    """Return a graph of two to four stages; ``counts`` keeps the sizes, so that the same seed gives the same graph."""
    graph = Graph(scratch_bytes=generator.choice([None, 1, 10 * MIB]))
    items = [Item(f"i{n}", cost=generator.choice([0.0, 1.0, 7.0])) for n in range(generator.randrange(1, 7))]
    nodes = [graph.node(create_stage("s0"), items, keeps=generator.random() < 0.7)]
    for number in range(1, generator.randrange(2, 5)):
        after, name = generator.choice(nodes), f"s{number}"
        kind = generator.choice(["each", "split", "whole", "table"])
        keeps = generator.random() < 0.7
        if kind == "each":
            nodes.append(
                graph.node(create_stage(name, generator.choice(["cpu", "io"])), after=after, each=follow, keeps=keeps)
            )
        elif kind == "split":
            nodes.append(graph.node(create_stage(name), after=after, split=_split, keeps=keeps))
        elif kind == "whole":
            parts = graph.parts(create_stage(f"{name}p"), after=after)
            nodes.append(graph.node(create_stage(name), after=after, each=_gather, parts=parts, keeps=keeps))
        else:
            graph.table(create_stage(name), after=after, collect=_collect)
        counts[kind] += 1
    return graph


def _split(done: Done) -> list[Item]:
    return [Item(f"{done.id}-{n}", {"from": done.digests}) for n in range(len(done.id) % 3)]


def _gather(done: Done) -> Whole:
    item = Item(done.id, {"from": done.digests}, cost=done.item.cost)
    return Whole(item, lambda: [Item(f"{done.id}_{n}", {"from": done.digests}) for n in range(3)], parts_bytes=MIB)


def _collect(records: Iterable[Record]) -> list[Item]:
    return [Item("table", {"of": sorted(record.id for record in records)})]


def is_doomed(key: str, seed: int) -> bool:
    """Return True if the item always fails."""
    return random.Random(f"{seed} {key}").random() < 0.08


def run_randomly(run: Simulation, generator: random.Random, seed: int, interrupted: bool) -> None:
    """Run items in a random interleaving, with random transient failures and losses; stop midway if interrupted."""
    needed: dict[str, set[str]] = {}
    steps = generator.randrange(1, 25) if interrupted else 10_000
    for _ in range(steps):
        if run.scheduler.is_finished:
            return
        if generator.random() < 0.6 or not run.running:
            key = run.take(generator.choice(["cpu", "io"]))
            if key:
                _check_needs(run, key, needed)
                continue
        if not run.running:
            assert run.scheduler.obstacle is None
            run.clock.now += run.scheduler.wait_seconds() or 0.0
            run.scheduler.clean_up()
            continue
        _settle_randomly(run, generator.choice([*run.running]), generator, seed)
        if generator.random() < 0.5:
            run.scheduler.clean_up()
    assert interrupted, "the run does not end"


def _settle_randomly(run: Simulation, key: str, generator: random.Random, seed: int) -> None:
    planned = run.running[key][1]
    dice = generator.random()
    if is_doomed(key, seed):
        run.fail(key, "bad_input")
    elif dice < 0.1:
        del run.running[key]
        run.scheduler.put_back(*_split_key(key))
    elif dice < 0.2 and planned.attempts < run.scheduler.execution.retries:
        assert not run.fail(key, generator.choice(["crash", "timeout", "out_of_memory"]))
    else:
        run.finish(key)


def _split_key(key: str) -> tuple[str, list[str]]:
    stage, item_id = key.split("/")
    return stage, [item_id]


def _check_needs(run: Simulation, key: str, needed: dict[str, set[str]]) -> None:
    """Check that all that the item needs is done, with the outputs in place."""
    node, planned = run.running[key]
    alone = [other for other, (_, entry) in run.running.items() if entry.alone]
    assert not alone or len(run.running) == 1
    after = node.node.after
    if node.node.collect and after:
        source = run.scheduler.run_of(after)
        assert all(outcome.outcome != "remaining" for outcome in source.outcomes)
        return
    if after is None:
        return
    for path in planned.item.payload["from"]:
        assert (run.layout.output_dir / path).exists(), f"{key} needs {path}"
    if node.node.parts:
        for part in range(3):
            assert (run.layout.output_dir / f"{node.name}p/{planned.item.id}_{part}.txt").exists()


def list_results(run: Simulation) -> dict[str, tuple[str, str]]:
    """Return the outcome of every item, with ``cached`` as ``done``."""
    return {
        f"{outcome.stage}/{outcome.id}": (outcome.outcome.replace("cached", "done"), outcome.failure_kind or "")
        for outcome in run.scheduler.collect_outcomes()
    }


def list_all_files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.glob("s*/*.txt"))
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_any_interleaving_and_interruption_gives_the_same_results(tmp_path: Path, seed: int) -> None:
    """Every item ends exactly once, nothing runs before its needs are done, and interruptions change nothing."""
    counts: Counter[str] = Counter()
    reference = Simulation(tmp_path / "whole", build_random_graph(random.Random(seed), counts), retries=2)
    run_randomly(reference, random.Random(seed + 1000), seed, interrupted=False)
    reference.end()
    generator = random.Random(seed + 2000)
    for _ in range(generator.randrange(1, 4)):
        run = Simulation(tmp_path / "parts", build_random_graph(random.Random(seed), counts), retries=2)
        run_randomly(run, generator, seed, interrupted=True)  # a kill: neither stopped nor tidied
    last = Simulation(tmp_path / "parts", build_random_graph(random.Random(seed), counts), retries=2)
    run_randomly(last, generator, seed, interrupted=False)
    last.end()
    expected = {key: value for key, value in list_results(reference).items() if not is_part(reference, key)}
    assert {key: value for key, value in list_results(last).items() if not is_part(last, key)} == expected
    assert all(outcome != "remaining" for outcome, _ in expected.values())
    assert set(last.settled) == set(list_results(last)), "each settled exactly once"
    assert list_all_files(tmp_path / "parts") == list_all_files(tmp_path / "whole")


def is_part(run: Simulation, key: str) -> bool:
    """Return True for the items of stages of parts: they are not needed once their whole is done."""
    return any(node.parts and node.parts.name == _split_key(key)[0] for node in run.scheduler.graph.nodes)


def test_slots_stay_busy_to_the_end(tmp_path: Path) -> None:
    """20,000 items of log-normal duration on 200 slots take at most 1 / 0.97 of the ideal time."""
    generator = random.Random(14)
    seconds = {f"i{n:05d}": generator.lognormvariate(0.0, 0.8) for n in range(20_000)}
    graph = Graph()
    items = [Item(name, cost=value * generator.uniform(0.7, 1.4)) for name, value in seconds.items()]
    graph.node(create_stage("only"), items)
    scheduler = Scheduler(graph, Layout(tmp_path), Execution(), clock=Clock())
    scheduler.plan()
    now, busy = 0.0, list[tuple[float, str]]()
    while True:
        while len(busy) < 200 and (taken := scheduler.take("cpu")):
            heapq.heappush(busy, (now + seconds[taken[1].item.id], taken[1].item.id))
        if not busy:
            break
        now, name = heapq.heappop(busy)
        scheduler.settle(Outcome(name, "only", "done", 1, Usage(seconds=seconds[name])))
    assert scheduler.is_finished
    assert sum(seconds.values()) / 200 / now >= 0.97
