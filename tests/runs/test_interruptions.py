"""Ctrl+C once and twice, SIGTERM, and kill -9 of a flow that is at work: what is done stays done, nothing is left."""

import signal
from pathlib import Path

import pytest

from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench, FlowProcess, hash_files, load_records


def gated(count: int, gate: Path) -> list[dict[str, object]]:
    """Items that wait until ``gate`` exists."""
    return [{"id": f"item-{number:02d}", "do": "wait_for", "gate": str(gate)} for number in range(count)]


def wait_for_two_at_work(bench: Bench) -> None:
    wait_until(lambda: len(bench.count_tries()) == 2, "two items at work")


def resume(bench: Bench, gate: Path, count: int, done: int) -> None:
    """The same command again does the rest, and nothing that was done."""
    gate.touch()
    bench.take_started_items()
    assert bench.run("--workers", 2) == 0
    assert bench.count_items() == (count - done, done, 0, 0)
    assert len(bench.take_started_items()) == count - done
    assert len(hash_files(bench.output / "made")) == 2 * count


def test_ctrl_c_lets_running_items_finish_and_starts_nothing(bench: Bench) -> None:
    gate = bench.folder / "gate"
    bench.write_manifest(*gated(12, gate))
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
def test_stopping_at_once_leaves_what_was_running_to_the_next_run(bench: Bench, signals: tuple[int, ...]) -> None:
    gate = bench.folder / "gate"
    bench.write_manifest(*gated(6, gate))
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
def test_a_dry_run_stops_at_once_and_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    local = tmp_path_factory.mktemp("local")
    monkeypatch.setenv("TMPDIR", str(local))
    bench.write_manifest({"id": "hangs", "do": "hang_with_children"})
    with bench.start_flow("--dry-run") as flow:
        wait_until(bench.tries, "the probe to be at work")
        flow.signal(number)
        assert flow.wait() == 130, flow.log.read_text()
        assert flow.log.read_text().splitlines()[-1] == "interrupted before the run began; nothing was changed"
    wait_until_gone(bench.mark)
    assert not bench.output.exists()
    assert [path for path in local.rglob("headrace*/**/*") if not path.is_dir()] == []


def kill_at_work(bench: Bench, flow: FlowProcess, ended: int) -> None:
    """SIGKILL when ``ended`` items have ended, while the one that hangs is at work."""
    wait_until(
        lambda: "starts-others" in bench.count_tries() and len(bench.count_tries("end")) >= ended,
        f"{ended} items ended",
    )
    flow.signal(signal.SIGKILL)
    assert flow.wait() == -signal.SIGKILL
    assert bench.count_tries() - bench.count_tries("end"), "nothing was at work"


def test_a_killed_run_is_taken_up_where_it_was(bench: Bench, tmp_path: Path) -> None:
    """Two kills, beside an item that has started processes of its own; the API's process ends with the first too."""
    rows = [{"id": f"item-{number:02d}", "do": "take_time", "seconds": 0.05} for number in range(40)]
    bench.write_manifest(*rows, {"id": "starts-others", "do": "hang_with_children", "cost": 2})
    api, known = bench.api, set[str]()
    for ended, options in [(4, ("--workers", 2)), (9, ("--workers", 3, "--shard-size", 1))]:
        bench.take_started_items()
        bench.api = None if not known else api
        with bench.start_flow(*options) as flow:
            kill_at_work(bench, flow, ended)
        wait_until_gone(bench.mark)
        assert not known & set(bench.count_tries()), "what was done ran again"
        done = {name.partition("/")[2] for name in load_records(bench.output)}
        assert known < done, "each run gets on"
        known = done
    assert list((bench.output / ".headrace/private").iterdir()), "of the last run; the next sweeps it"

    bench.write_manifest(*rows, {"id": "starts-others"})
    bench.take_started_items()
    assert bench.run("--workers", 2) == 0
    assert bench.count_items() == (41 - len(known), len(known), 0, 0)
    assert sorted(bench.take_started_items()) == sorted({str(row["id"]) for row in rows} - known | {"starts-others"})
    assert list((bench.output / ".headrace/private").iterdir()) == []
    assert [*bench.output.rglob("*.tmp"), *bench.output.rglob("*.stale")] == []

    made, kept = hash_files(bench.output / "made"), load_records(bench.output)
    bench.output = tmp_path / "undisturbed"
    assert bench.run() == 0
    assert hash_files(bench.output / "made") == made
    assert load_records(bench.output) == kept
