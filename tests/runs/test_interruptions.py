"""Interrupt a running flow by Ctrl+C, SIGTERM and SIGKILL: done items stay done, and no process is left."""

import signal
from pathlib import Path

import pytest

from tests.chaos import graph_flow
from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench, FlowProcess, hash_files, load_records


def create_gated_items(count: int, gate: Path) -> list[dict[str, object]]:
    """Create items that wait until ``gate`` exists."""
    return [{"id": f"item-{number:02d}", "do": "wait_for", "gate": str(gate)} for number in range(count)]


def wait_for_two_at_work(bench: Bench) -> None:
    wait_until(lambda: len(bench.count_tries()) == 2, "two items at work")


def resume(bench: Bench, gate: Path, count: int, done: int) -> None:
    """Repeat the command and check that it runs only the remaining items."""
    gate.touch()
    bench.take_started_items()
    assert bench.run("--workers", 2) == 0
    assert bench.count_items() == (count - done, done, 0, 0)
    assert len(bench.take_started_items()) == count - done
    assert len(hash_files(bench.output / "made")) == 2 * count


def test_ctrl_c_finishes_running_items_and_starts_no_others(bench: Bench) -> None:
    gate = bench.folder / "gate"
    bench.write_manifest(*create_gated_items(12, gate))
    with bench.start_flow("--workers", 2) as flow:
        wait_for_two_at_work(bench)
        flow.signal(signal.SIGINT)
        flow.wait_for_text("finishing the running items")
        gate.touch()
        assert flow.wait() == 130, flow.log.read_text()
        assert "Traceback" not in flow.log.read_text()
        assert "2 done, 0 cached, 0 failed, 10 remaining" in flow.log.read_text()
    assert set(bench.count_tries().values()) == {1}
    assert bench.count_tries("end") == bench.count_tries()
    assert bench.summary["state"] == "interrupted"
    assert bench.count_items() == (2, 0, 0, 10)
    outcomes = [row["outcome"] for row in bench.items.values()]
    assert (outcomes.count("done"), outcomes.count("remaining")) == (2, 10)
    wait_until_gone(bench.mark)
    resume(bench, gate, count=12, done=2)


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM,)], ids=["ctrl-c-twice", "sigterm"]
)
def test_immediate_stop_leaves_running_items_to_the_next_run(bench: Bench, signals: tuple[int, ...]) -> None:
    gate = bench.folder / "gate"
    bench.write_manifest(*create_gated_items(6, gate))
    with bench.start_flow("--workers", 2) as flow:
        wait_for_two_at_work(bench)
        for number in signals:
            flow.signal(number)
            flow.wait_for_text("finishing" if number == signal.SIGINT and number != signals[-1] else "st")
        assert flow.wait() == 130, flow.log.read_text()
        assert "Traceback" not in flow.log.read_text()
    assert bench.summary["state"] == "interrupted"
    assert bench.count_items() == (0, 0, 0, 6)
    assert sorted(bench.count_tries().values()) == [1, 1]
    assert bench.count_tries("end") == {}
    assert list((bench.output / ".headrace/private").iterdir()) == []
    wait_until_gone(bench.mark)
    resume(bench, gate, count=6, done=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_dry_run_stops_and_leaves_no_files(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    local = tmp_path_factory.mktemp("local")
    monkeypatch.setenv("TMPDIR", str(local))
    bench.write_manifest({"id": "hangs", "do": "hang_with_children"})
    with bench.start_flow("--dry-run") as flow:
        wait_until(bench.count_tries, "the probe to be at work")
        flow.signal(number)
        assert flow.wait() == 130, flow.log.read_text()
        assert flow.log.read_text().splitlines()[-1] == "interrupted before the run began; nothing was changed"
    wait_until_gone(bench.mark)
    assert not bench.output.exists()
    assert [path for path in local.rglob("headrace*/**/*") if not path.is_dir()] == []


def kill_running_flow(bench: Bench, flow: FlowProcess, ended: int) -> None:
    """Send SIGKILL when ``ended`` items have ended and the hanging item is running."""
    wait_until(
        lambda: "starts-others" in bench.count_tries() and len(bench.count_tries("end")) >= ended,
        f"{ended} items ended",
    )
    flow.signal(signal.SIGKILL)
    assert flow.wait() == -signal.SIGKILL
    assert bench.count_tries() - bench.count_tries("end"), "no item was running"


def test_run_resumes_after_two_kills(bench: Bench, tmp_path: Path) -> None:
    """One item has started child processes. The first kill ends the API's process too."""
    rows = [{"id": f"item-{number:02d}", "do": "take_time", "seconds": 0.05} for number in range(40)]
    bench.write_manifest(*rows, {"id": "starts-others", "do": "hang_with_children", "cost": 2})
    api, recorded = bench.api, set[str]()
    for ended, options in [(4, ("--workers", 2)), (9, ("--workers", 3, "--shard-size", 1))]:
        bench.take_started_items()
        bench.api = None if not recorded else api
        with bench.start_flow(*options) as flow:
            kill_running_flow(bench, flow, ended)
        wait_until_gone(bench.mark)
        assert not recorded & set(bench.count_tries()), "a done item ran again"
        done = {name.partition("/")[2] for name in load_records(bench.output)}
        assert recorded < done, "each run makes progress"
        recorded = done
    assert list((bench.output / ".headrace/private").iterdir()), "the last run's folder, which the next run sweeps"

    bench.write_manifest(*rows, {"id": "starts-others"})
    bench.take_started_items()
    assert bench.run("--workers", 2) == 0
    assert bench.count_items() == (41 - len(recorded), len(recorded), 0, 0)
    assert sorted(bench.take_started_items()) == sorted({str(row["id"]) for row in rows} - recorded | {"starts-others"})
    assert list((bench.output / ".headrace/private").iterdir()) == []
    assert [*bench.output.rglob("*.tmp"), *bench.output.rglob("*.stale")] == []

    digests, kept = hash_files(bench.output / "made"), load_records(bench.output)
    bench.output = tmp_path / "undisturbed"
    assert bench.run() == 0
    assert hash_files(bench.output / "made") == digests
    assert load_records(bench.output) == kept


GRAPH = "tests.chaos.graph_flow"


def wait_for_stages_at_work(bench: Bench, flow: FlowProcess) -> None:
    """Return when all slots run items, of several stages, and all items that have ended are recorded.

    Nothing changes after that, because the items are held.
    """

    def is_held() -> bool:
        started, done = bench.count_tries(), bench.count_tries("end")
        others = [item for item in started - done if not item.startswith("download-")]
        recorded = {name.partition("/")[2] for name in load_records(bench.output)}
        has_downloads = sum(item.startswith("download-") for item in started) == graph_flow.STARS
        return done.total() >= 2 and set(done) <= recorded and has_downloads and len(others) == 2

    wait_until(is_held, lambda: f"items at work: {bench.count_tries()} {flow.log.read_text()}", 120.0)


def resume_graph(bench: Bench, done: set[str]) -> None:
    """Repeat the command and check that it runs every item that was not done, and no other."""
    bench.take_started_items()
    assert bench.run("--workers", 2, "--output-dir", bench.output, flow=GRAPH) == 0
    assert sorted([*bench.take_started_items(), *done]) == sorted(graph_flow.list_ids())
    assert bench.summary["state"] == "completed"
    assert bench.summary["items"]["remaining"] == 0


def test_ctrl_c_in_a_graph_starts_no_item_of_a_later_stage(bench: Bench) -> None:
    bench.hold(2)
    with bench.start_flow("--workers", 2, "--output-dir", bench.output, flow=GRAPH) as flow:
        wait_for_stages_at_work(bench, flow)
        started = bench.count_tries()
        flow.signal(signal.SIGINT)
        flow.wait_for_text("finishing the running items")
        bench.release()
        assert flow.wait() == 130, flow.log.read_text()
        assert "Traceback" not in flow.log.read_text()
    assert bench.count_tries() == started, "no item started after the signal, of any stage"
    assert bench.count_tries("end") == started, "all running items finished"
    assert bench.summary["state"] == "interrupted"
    assert bench.summary["items"]["done"] == len(started)
    assert {name.partition("/")[2] for name in load_records(bench.output)} == set(started)
    wait_until_gone(bench.mark)
    resume_graph(bench, done=set(started))


def test_second_ctrl_c_ends_a_graph_at_once(bench: Bench) -> None:
    bench.hold(2)
    with bench.start_flow("--workers", 2, "--output-dir", bench.output, flow=GRAPH) as flow:
        wait_for_stages_at_work(bench, flow)
        started, done = bench.count_tries(), set(bench.count_tries("end"))
        flow.signal(signal.SIGINT)
        flow.wait_for_text("finishing the running items")
        flow.signal(signal.SIGINT)
        assert flow.wait() == 130, flow.log.read_text()
        assert "Traceback" not in flow.log.read_text()
    wait_until_gone(bench.mark)
    assert (bench.count_tries(), set(bench.count_tries("end"))) == (started, done), "running items were ended"
    assert bench.summary["items"]["done"] == len(done)
    assert {name.partition("/")[2] for name in load_records(bench.output)} == done
    assert list((bench.output / ".headrace/private").iterdir()) == []
    bench.release()
    resume_graph(bench, done)
