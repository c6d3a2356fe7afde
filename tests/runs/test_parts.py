"""Run a graph in three parts, one of which is killed; merged, they equal one run."""

import signal
from pathlib import Path

from tests.chaos import graph_flow
from tests.engine.processes import wait_until, wait_until_gone
from tests.runs.bench import Bench, hash_files, load_records

FLOW = "tests.chaos.graph_flow"


def run(bench: Bench, *options: object) -> int:
    return bench.run(*options, "--output-dir", bench.output, flow=FLOW)


def merge(bench: Bench) -> int:
    from tasks.launcher.commands import run_headrace

    return run_headrace(["items", "merge", str(bench.output)])


def kill_part(bench: Bench, part: str) -> set[str]:
    """Start a part, and kill it once an item is done and others run; return the items that were in flight."""
    bench.hold(2)
    with bench.start_flow("--workers", 2, "--part", part, "--output-dir", bench.output, flow=FLOW) as flow:
        wait_until(
            lambda: load_records(bench.output / "part-2-of-3") and bench.count_tries() - bench.count_tries("end"),
            lambda: f"items at work: {flow.log.read_text()}",
        )
        flow.signal(signal.SIGKILL)
        flow.wait()
    bench.release()
    wait_until_gone(bench.mark)
    recorded = {name.partition("/")[2] for name in load_records(bench.output / "part-2-of-3")}
    return set(bench.count_tries()) - recorded


def test_three_parts_equal_one_run(bench: Bench, tmp_path: Path) -> None:
    bench.output = tmp_path / "out"
    in_flight = kill_part(bench, "2/3")
    assert merge(bench) == 2, "parts are missing"
    for part in ("1/3", "2/3", "3/3"):
        assert run(bench, "--part", part) == 0
        assert not (bench.output / "summary.json").exists(), "each part has its own"
    assert run(bench) == 1, "the parts are not merged"
    assert {item for item, tries in bench.count_tries().items() if tries > 1} <= in_flight
    assert sorted(bench.count_tries()) == sorted(set(graph_flow.list_ids()) - {"table"}), "no part makes the table"
    assert merge(bench) == 0
    assert bench.summary["items"]["failed"] == bench.summary["items"]["remaining"] == 0

    bench.take_started_items()
    assert run(bench) == 0
    assert bench.take_started_items() == ["table"]
    outputs, records = hash_files(bench.output / "made"), load_records(bench.output)
    assert run(bench, "--part", "1/3") == 0
    assert bench.take_started_items() == [], "a part finds its items done, also after the merge"

    bench.output = tmp_path / "one"
    assert run(bench) == 0
    assert hash_files(bench.output / "made") == outputs
    assert load_records(bench.output) == records
