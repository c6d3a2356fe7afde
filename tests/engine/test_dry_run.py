"""Test the dry run: what would run and why, and its time, memory and disk space, from probed items and earlier runs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.contract.execution import Execution
from tasks.engine.contract.items import Item
from tasks.engine.planning.graph import Done, Graph, Whole
from tasks.engine.planning.rates import Growth, Rate, Samples, add_rates, choose_rates, read_rates
from tasks.engine.planning.sizing import RunSize
from tasks.engine.running.dry_run.explain import explain_item
from tasks.engine.running.dry_run.forecast import Forecast, StageForecast, make_forecast
from tasks.engine.running.dry_run.lines import describe_all
from tasks.engine.running.dry_run.predict import Predicted, forecast_run, predict_run, record_rates
from tasks.engine.running.dry_run.stage_plan import PlanReader
from tasks.engine.running.scheduler import Scheduler
from tasks.engine.store.layout import Layout
from tasks.engine.store.outcomes import Record, Usage
from tests.engine.chain_stages import FirstStage, SecondStage, TableStage
from tests.engine.faults import FaultParams
from tests.engine.gathering import GatherStage
from tests.engine.simulation import MIB, Simulation

PARAMS = FaultParams()
SIZE = RunSize({"cpu": 2, "io": 8, "device": 1}, 1024 * MIB, "2 slots")
FILES = {"a": 1001 * len("a0 text\n"), "b": 1001 * len("a0-0 text\n")}  # bytes that an item of each stage writes


def split(done: Done) -> list[Item]:
    return [Item(f"{done.id}-{n}", {"from": done.digests}) for n in range(3)]


def collect(records: Iterable[Record]) -> list[Item]:
    return [Item("all", {"ids": [record.id for record in records]})]


def build_chain(count: int = 10, text: str = "text", **payloads: object) -> Graph:
    """Return the graph first -> three of second -> table."""
    graph = Graph()
    items = [Item(f"a{n}", {"do": payloads.get(f"a{n}", "write")}) for n in range(count)]
    first = graph.node(FirstStage(FaultParams(text=text)), items)
    second = graph.node(SecondStage(PARAMS), after=first, split=split)
    graph.table(TableStage(PARAMS), after=second, collect=collect)
    return graph


def build_wholes(parts: int, count: int = 1, parts_bytes: int = 0) -> Graph:
    graph = Graph()
    node = graph.parts(FirstStage(PARAMS))

    def make_whole(name: str) -> Whole:
        ids = [f"{name}{n}" for n in range(parts)]
        return Whole(Item(name, {"parts": ids}), lambda: [Item(part) for part in ids], parts_bytes)

    graph.node(GatherStage(), [make_whole(name) for name in "abcdef"[:count]], parts=node)
    return graph


@contextmanager
def note_folder(folder: Path) -> Iterator[None]:
    """Stand for the flow, whose functions do not use the output folder here."""
    yield


@pytest.fixture(autouse=True)
def scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return the folder for temporary files, which probes leave empty."""
    folder = tmp_path / "scratch"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("HEADRACE_RATES", str(tmp_path / "rates.json"))
    return folder


def predict(folder: Path, graph: Graph, **options: object) -> Predicted:
    return forecast_run(graph, Layout(folder), Execution.model_validate({"workers": 2, **options}), note_folder)


def list_lines(folder: Path, graph: Graph, **options: object) -> list[str]:
    execution = Execution.model_validate({"workers": 2, **options})
    return list(predict_run(graph, Layout(folder), execution, note_folder))


def get_stages(forecast: Forecast) -> dict[str, StageForecast]:
    return {stage.plan.run.name: stage for stage in forecast.stages}


def test_whole_graph_is_predicted_from_a_few_probes(tmp_path: Path, scratch: Path) -> None:
    """The numbers of items and bytes are exact, because all items of a stage are alike."""
    predicted = predict(tmp_path / "out", build_chain(10))
    stages = get_stages(predicted.forecast)
    assert {name: (stage.plan.todo, stage.extra) for name, stage in stages.items()} == {
        "first": (10, 0.0),
        "second": (0, pytest.approx(30)),
        "table": (0, None),  # not all items of the second stage were probed
    }
    assert stages["first"].size_bytes == pytest.approx(10 * FILES["a"])
    assert stages["second"].size_bytes == pytest.approx(30 * FILES["b"])
    assert predicted.forecast.disk_bytes == pytest.approx(10 * FILES["a"] + 30 * FILES["b"])
    assert predicted.probes["first"].samples.count == 3
    assert predicted.probes["second"].samples.count == 6
    assert predicted.forecast.unknown == ["table"]
    assert not (tmp_path / "out").exists()
    assert [path for path in scratch.rglob("*") if not path.is_dir()] == []


def test_table_is_probed_if_all_items_before_it_were(tmp_path: Path) -> None:
    predicted = predict(tmp_path / "out", build_chain(2))
    assert get_stages(predicted.forecast)["table"].extra == 1
    assert predicted.forecast.unknown == []


def test_wholes_with_few_parts_are_probed(tmp_path: Path) -> None:
    stages = get_stages(predict(tmp_path / "out", build_wholes(3)).forecast)
    assert stages["wholes"].rate is not None
    assert stages["wholes"].plan.todo == 1
    assert stages["first"].plan.todo == 3


def test_parts_of_large_wholes_are_sampled(tmp_path: Path) -> None:
    predicted = predict(tmp_path / "out", build_wholes(50))
    assert predicted.probes["first"].samples.count == 2
    assert get_stages(predicted.forecast)["first"].plan.todo == 50
    assert predicted.forecast.unknown == ["wholes"]
    lines = list_lines(tmp_path / "out", build_wholes(50))
    assert "wholes: no prediction, because no item could be probed, and no earlier run is known" in lines
    assert lines[-1] == "the run: not included, because unknown: wholes"


def test_results_of_earlier_runs_are_read_by_probes(tmp_path: Path) -> None:
    """A done item of the first stage does not run again to probe the second."""
    Simulation(tmp_path, build_chain(4)).run()
    for path in (tmp_path / ".headrace/records/second").glob("*.json"):
        path.unlink()
    before = sorted(tmp_path.rglob("*"))
    predicted = predict(tmp_path, build_chain(4))
    stages = get_stages(predicted.forecast)
    assert (stages["first"].plan.counts.cached, stages["first"].has_work) == (4, False)
    assert stages["second"].plan.todo == 12
    assert predicted.probes["first"].samples.count == 0
    assert predicted.probes["second"].samples.count == 6
    assert sorted(path for path in tmp_path.rglob("*") if tmp_path / "scratch" not in path.parents) == before


def test_nothing_to_do_is_one_line_per_stage(tmp_path: Path) -> None:
    Simulation(tmp_path, build_chain(1)).run()
    assert list_lines(tmp_path, build_chain(1)) == [
        "first: 1 item, 1 cached, 0 to do",
        "second: 3 items, 3 cached, 0 to do",
        "table: 1 item, 1 cached, 0 to do",
    ]


def test_failed_probes_are_named_and_not_used(tmp_path: Path) -> None:
    lines = list_lines(tmp_path / "out", build_chain(1, a0="raise_bad_input"))
    assert "first: probed a0: the tape is torn" in lines
    assert "first: no prediction, because all 1 probed items failed" in lines


def test_reasons_are_counted_with_examples(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain(5))
    run.run(failing={"first/a4": "bad_input"})
    (tmp_path / "first/a0.txt").unlink()
    lines = list_lines(tmp_path, build_chain(7))
    assert "first: 7 items, 3 cached, 4 to do" in lines
    assert "first: 2 to do: new (a5; a6)" in lines
    assert "first: 1 to do: output missing (a0)" in lines
    assert "first: 1 to do: failed before (a4)" in lines


def test_left_and_kept_items_are_counted(tmp_path: Path) -> None:
    run = Simulation(tmp_path, build_chain(3))
    run.run(failing={"first/a0": "bad_input"})
    lines = list_lines(tmp_path, build_chain(6), max_items=1, keep_failed=True)
    assert "first: 6 items, 2 cached, 1 to do, 1 failed before and kept, 2 left by --max-items" in lines


def forecast_without_probes(folder: Path, graph: Graph, free: int = 2**40) -> Forecast:
    scheduler = Scheduler(graph, Layout(folder), Execution())
    scheduler.plan()
    plans = PlanReader(scheduler, Execution()).read()
    return make_forecast(plans, {}, read_rates(folder.parent / "rates.json"), SIZE, graph.scratch_bytes, free)


def test_earlier_runs_predict_what_cannot_be_probed(tmp_path: Path) -> None:
    """Items took 2 s each, so 10 + 30 + 1 items on two slots take 41 s."""
    run = Simulation(tmp_path / "one", build_chain(4))
    while not run.scheduler.is_finished:
        if key := run.take():
            run.finish(key, seconds=2.0)
    record_rates(run.scheduler)
    forecast = forecast_without_probes(tmp_path / "two", build_chain(10))
    stages = get_stages(forecast)
    assert (stages["second"].extra, stages["second"].growth_from) == (pytest.approx(30), "recorded")
    assert stages["table"].extra == 1
    assert forecast.elapsed("seconds") == pytest.approx(41, rel=0.01)
    assert forecast.elapsed("low") < 41 < forecast.elapsed("high")
    lines = list(describe_all(forecast, {}, [], 1))
    assert "second: about 30 items to do, estimated from earlier runs" in lines
    assert any("predicted from 12 items of earlier runs: about 0:30" in line for line in lines)
    assert lines[-1].endswith("(1 byte free; MORE THAN IS FREE)")


def test_parts_count_for_the_disk_until_their_wholes_are_done(tmp_path: Path) -> None:
    graph = build_wholes(2, count=4, parts_bytes=100 * MIB)
    forecast = forecast_without_probes(tmp_path / "out", graph)
    assert (forecast.disk_bytes, forecast.waiting_bytes) == (800 * MIB, 400 * MIB)
    graph.scratch_bytes = 150 * MIB
    assert forecast_without_probes(tmp_path / "out", graph).waiting_bytes == 150 * MIB
    graph.scratch_bytes = 1
    assert forecast_without_probes(tmp_path / "out", graph).waiting_bytes == 100 * MIB, "one whole always runs"


def test_one_long_item_limits_the_speed(tmp_path: Path) -> None:
    graph = Graph()
    graph.node(FirstStage(PARAMS), [Item("long", cost=100.0), Item("short", cost=1.0)])
    samples = Samples()
    samples.add(1.0, Usage(seconds=1.0), 0)
    rate = samples.compute_rate()
    assert rate is not None
    (stage,) = forecast_without_probes(tmp_path, graph).stages
    known = StageForecast(stage.plan, 0.0, 0.0, None, rate, "probed", 2, 0.0)
    assert Forecast([known], 0.0, 0.0).elapsed("seconds") == 100.0


# Explanations


def test_explanation_names_the_reason_and_later_stages(tmp_path: Path) -> None:
    Simulation(tmp_path, build_chain(2)).run()
    (tmp_path / "first/a0.txt").unlink()
    assert explain_item(build_chain(2), Layout(tmp_path), Execution(), "a0") == [
        "first: a0: would run: output missing",
        "first: a0:   missing: first/a0.txt",
        "second: known once first is done",
    ]
    (line,) = explain_item(build_chain(2), Layout(tmp_path), Execution(), "a1-2")
    assert line == "second: a1-2: is done (run run), and nothing that it depends on has changed"


def test_explanation_of_an_unknown_item_says_what_is_allowed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--explain"):
        explain_item(build_chain(1), Layout(tmp_path), Execution(), "b")
    assert list(tmp_path.glob(".headrace")) == []


def test_parts_of_an_explained_whole_are_counted(tmp_path: Path) -> None:
    lines = explain_item(build_wholes(3), Layout(tmp_path), Execution(), "a")
    assert lines == ["wholes: a: would run: new", "wholes: a: parts that must run before: 3 of 3"]


# Rates


def measure(*seconds: float, cost: float = 1.0) -> Rate:
    samples = Samples()
    for each in seconds:
        samples.add(cost, Usage(seconds=each), 10)
    rate = samples.compute_rate()
    assert rate is not None
    return rate


def test_range_narrows_with_more_items() -> None:
    one, few, many = measure(2.0), measure(1.7, 2.0, 2.3), measure(*[1.7, 2.0, 2.3] * 100)
    assert one.seconds == few.seconds == many.seconds == 2.0
    assert one.low < few.low < many.low < 2.0 < many.high < few.high < one.high == 4.0
    assert measure(2.0, cost=4.0).seconds == 0.5
    assert many.size_bytes == 10


def test_samples_are_bounded_and_sums_exact() -> None:
    samples = Samples()
    for _ in range(10_000):
        samples.add(1.0, Usage(seconds=0.5), 1)
    rate = samples.compute_rate()
    assert rate is not None
    assert (rate.items, rate.seconds, rate.size_bytes) == (10_000, 0.5, 1.0)
    assert len(samples._kept) < 256


def write_rates(path: Path, text: str, seconds: float, count: int = 1) -> None:
    from tasks.engine.planning.rates import StageRates, hash_params, name_stage

    stage = FirstStage(FaultParams(text=text))
    rate = Rate(1, seconds, seconds, seconds, 0.0, 0.0)
    add_rates(path, [StageRates(name_stage(stage), hash_params(stage), 1.0, rate, Growth())] * count)


def test_runs_with_the_same_parameters_count_first(tmp_path: Path) -> None:
    path = tmp_path / "rates.json"
    write_rates(path, "text", 1.0)
    write_rates(path, "other", 5.0)
    chosen = choose_rates(FirstStage(PARAMS), read_rates(path))
    assert chosen is not None
    assert (chosen.rate.low, chosen.rate.seconds, chosen.rate.high) == (1.0, 1.0, 1.0)
    other = choose_rates(FirstStage(FaultParams(text="third")), read_rates(path))
    assert other is not None
    assert (other.rate.low, other.rate.seconds, other.rate.high) == (0.5, 3.0, 10.0)
    assert choose_rates(SecondStage(PARAMS), read_rates(path)) is None


def test_rates_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "deep/rates.json"
    for number in range(60):
        write_rates(path, f"text {number}", 1.0, count=10)
    rates = read_rates(path)
    assert len(rates) == 200
    assert choose_rates(FirstStage(FaultParams(text="text 59")), rates) is not None
    assert sorted(each.name for each in path.parent.iterdir()) == ["rates.json", "rates.json.lock"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"stage": "x"}]', "[" * 10_000, "x" * (2**20 + 1)])
def test_damaged_rates_are_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rates.json"
    path.write_text(content)
    assert read_rates(path) == []
    write_rates(path, "text", 1.0)
    assert len(read_rates(path)) == 1


def test_rates_that_cannot_be_written_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    write_rates(tmp_path / "file/rates.json", "text", 1.0)
    add_rates(None, [])
    assert read_rates(None) == read_rates(tmp_path / "none") == []


def test_records_of_a_run_tell_parameters_apart(tmp_path: Path) -> None:
    """The file has no paths and no names of items."""
    run = Simulation(tmp_path / "one", build_chain(1))
    run.run()
    record_rates(run.scheduler)
    stages = {each["stage"] for each in json.loads((tmp_path / "rates.json").read_bytes())}
    assert stages == {f"tests.engine.chain_stages.{n}Stage:{n.lower()}@1" for n in ("First", "Second", "Table")}
