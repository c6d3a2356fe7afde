"""Five bad items among forty good ones: one run in a process of its own, by its script."""

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
def ran(bench: Bench, truncated_clip: Path) -> Bench:
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


def test_five_faults_among_forty_good_items(ran: Bench) -> None:
    """40 done, five failed with the right kinds, each in time, nobody run twice, no process left."""
    assert ran.count_items() == (40, 0, 5, 0)
    assert set(ran.count_tries().values()) == {1}
    assert len(ran.count_tries()) == 45
    for name, (_, kind, message) in BAD.items():
        failure = ran.failures[name]
        assert failure["failure_kind"] == kind
        assert re.fullmatch(message, failure["message"]), failure["message"]
        assert failure["attempts"] == 1
        assert ran.items[name]["seconds"] <= TIMEOUT_SECONDS + 2
    assert ran.items["hangs"]["seconds"] >= TIMEOUT_SECONDS
    assert set(load_records(ran.output)) == {f"faults/good-{number:02d}" for number in range(40)}
    assert {path.name for path in (ran.output / "made").iterdir()} == {f"good-{number:02d}" for number in range(40)}
    assert list((ran.output / ".headrace/private").iterdir()) == []
    wait_until_gone(ran.mark)

    assert ran.run("--max-items", 1, "--keep-failed") == 3
    assert ran.count_items() == (0, 40, 5, 0)


def test_retries_blame_nobody_else(bench: Bench) -> None:
    bad = [{"id": name, **payload} for name, (payload, _, _) in BAD.items() if name in {"segfaults", "raises"}]
    bad.append({"id": "killed", "do": "kill_itself"})
    bench.write_manifest(*bad, *({"id": f"good-{number:02d}"} for number in range(20)))
    assert bench.run("--workers", 2, "--retries", 1) == 3
    expected = {f"good-{number:02d}": 1 for number in range(20)}
    assert bench.count_tries() == {**expected, "segfaults": 2, "killed": 2, "raises": 1}
    assert bench.failures["segfaults"]["attempts"] == 2
    assert list((bench.output / ".headrace/private").iterdir()) == []
