"""Run five faulty items among forty good ones in a child process."""

import re
from pathlib import Path

import pytest

from tests.engine.processes import wait_until_gone
from tests.runs.bench import Bench, load_records

TIMEOUT_SECONDS = 3.0
BAD = {
    "hangs": ({"do": "hang_in_c"}, "timeout", r"no result within 3 s"),
    "segfaults": ({"do": "segfault"}, "crash", r"the item's process ended by SIGSEGV"),
    "eats": ({"do": "eat_memory"}, "out_of_memory", r"used \d+ MiB of 250 MiB allowed"),
    "raises": ({"do": "raise"}, "error", r"ValueError: first line second line"),
    "damaged": ({"do": "decode"}, "bad_input", r".*damaged\.mp4.*"),
}


@pytest.fixture
def finished_run(bench: Bench, truncated_clip: Path) -> Bench:
    rows = [{"id": f"good-{number:02d}"} for number in range(40)]
    rows[0]["do"] = "leave_a_child"
    for place, (name, (payload, _, _)) in enumerate(BAD.items()):
        inputs = [str(truncated_clip)] if name == "damaged" else []
        rows.insert(8 * place + 3, {"id": name, "inputs": inputs, **payload})
    bench.write_manifest(*rows)
    options = ("--timeout", TIMEOUT_SECONDS, "--memory-per-item", "250MiB", "--retries", 0, "--workers", 2)
    with bench.start_flow(*options) as flow:
        assert flow.wait() == 3, flow.log.read_text()
        log = flow.log.read_text()
    assert "Traceback" not in log
    for name, (_, kind, message) in BAD.items():
        assert re.search(rf"failed: {name}: {kind}: {message}", log), log
    return bench


def test_five_faulty_items_fail_and_forty_good_ones_are_done(finished_run: Bench) -> None:
    """Check counts, failure kinds, durations, single attempts, and that no process is left."""
    assert finished_run.count_items() == (40, 0, 5, 0)
    assert set(finished_run.count_tries().values()) == {1}
    assert len(finished_run.count_tries()) == 45
    for name, (_, kind, message) in BAD.items():
        failure = finished_run.failures[name]
        assert failure["failure_kind"] == kind
        assert re.fullmatch(message, failure["message"]), failure["message"]
        assert failure["attempts"] == 1
        assert finished_run.items[name]["seconds"] <= TIMEOUT_SECONDS + 2
    assert finished_run.items["hangs"]["seconds"] >= TIMEOUT_SECONDS
    assert set(load_records(finished_run.output)) == {f"faults/good-{number:02d}" for number in range(40)}
    assert {path.name for path in (finished_run.output / "made").iterdir()} == {
        f"good-{number:02d}" for number in range(40)
    }
    assert list((finished_run.output / ".headrace/private").iterdir()) == []
    wait_until_gone(finished_run.mark)

    assert finished_run.run("--max-items", 1, "--keep-failed") == 3
    assert finished_run.count_items() == (0, 40, 5, 0)


def test_retries_run_only_crashed_items_again(bench: Bench) -> None:
    bad = [{"id": name, **payload} for name, (payload, _, _) in BAD.items() if name in {"segfaults", "raises"}]
    bad.append({"id": "killed", "do": "kill_itself"})
    bench.write_manifest(*bad, *({"id": f"good-{number:02d}"} for number in range(20)))
    assert bench.run("--workers", 2, "--retries", 1) == 3
    expected = {f"good-{number:02d}": 1 for number in range(20)}
    assert bench.count_tries() == {**expected, "segfaults": 2, "killed": 2, "raises": 1}
    assert bench.failures["segfaults"]["attempts"] == 2
    assert list((bench.output / ".headrace/private").iterdir()) == []
