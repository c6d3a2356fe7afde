"""Join parts into wholes: parts are removed after joining, and no part runs twice."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine.processes import wait_until
from tests.runs.bench import Bench

FLOW = "tests.runs.assembly_flow"


def write_plan(bench: Bench, **wholes: dict[str, Any]) -> Path:
    path = bench.folder / "plan.json"
    path.write_text(json.dumps(wholes))
    return path


def create_whole(name: str, parts: int = 2, size: int = 0, **special: dict[str, Any]) -> dict[str, Any]:
    """Create a whole whose parts write; ``special`` maps part names to other payloads."""
    return {"parts": {f"{name}{number}": special.get(f"{name}{number}", {}) for number in range(parts)}, "bytes": size}


def run_assembly(bench: Bench, plan: Path, *options: object, small: bool = True) -> int:
    return bench.run("--plan", plan, "--output-dir", bench.output, *options, flow=FLOW, small=small)


def list_parts(bench: Bench) -> list[str]:
    return sorted(path.name for path in (bench.output / "made").glob("*")) if (bench.output / "made").exists() else []


def test_parts_are_joined_and_removed(bench: Bench) -> None:
    plan = write_plan(bench, a=create_whole("a"), b=create_whole("b"))
    assert run_assembly(bench, plan, small=False) == 0
    assert (bench.output / "wholes" / "a.txt").read_text() == "a0 text\na1 text\n"
    assert list_parts(bench) == []
    assert sorted(bench.take_started_items()) == ["a", "a0", "a1", "b", "b0", "b1"]
    assert run_assembly(bench, plan) == 0
    assert bench.take_started_items() == []
    assert bench.count_items() == (0, 2, 0, 0)


def test_new_whole_runs_only_its_own_parts(bench: Bench) -> None:
    assert run_assembly(bench, write_plan(bench, a=create_whole("a"))) == 0
    bench.take_started_items()
    assert run_assembly(bench, write_plan(bench, a=create_whole("a"), b=create_whole("b"))) == 0
    assert sorted(bench.take_started_items()) == ["b", "b0", "b1"]


def test_missing_whole_runs_again_with_its_parts(bench: Bench) -> None:
    plan = write_plan(bench, a=create_whole("a"), b=create_whole("b"))
    assert run_assembly(bench, plan) == 0
    bench.take_started_items()
    (bench.output / "wholes" / "b.txt").unlink()
    assert run_assembly(bench, plan) == 0
    assert sorted(bench.take_started_items()) == ["b", "b0", "b1"]


def test_failed_part_fails_only_its_whole(bench: Bench) -> None:
    plan = write_plan(bench, a=create_whole("a", a1={"do": "raise_bad_input"}), b=create_whole("b"))
    assert run_assembly(bench, plan) == 3
    assert (bench.failures["a"]["failure_kind"], bench.failures["a"]["message"]) == ("upstream", "a1 failed")
    assert bench.summary["items"] == {"total": 6, "done": 4, "cached": 0, "failed": 1, "remaining": 0, "upstream": 1}
    assert set(bench.failures) == {"a", "a1"}
    assert list_parts(bench) == ["a0"]
    bench.take_started_items()
    repaired_plan = write_plan(bench, a=create_whole("a"), b=create_whole("b"))
    assert run_assembly(bench, repaired_plan) == 0
    assert sorted(bench.take_started_items()) == ["a", "a1"]
    assert list_parts(bench) == []


def test_parts_that_wait_never_exceed_the_scratch_space(bench: Bench) -> None:
    """Two wholes have room. The third starts when the parts of one were removed, which may be during its own join."""
    plan = write_plan(
        bench, a=create_whole("a", size=100), b=create_whole("b", size=100), c=create_whole("c", size=100)
    )
    assert run_assembly(bench, plan, "--scratch", 200) == 0
    numbers_of_parts = {name: bench.items[name]["parts_there"] for name in "abc"}
    assert set(numbers_of_parts.values()) <= {2, 3, 4}


@pytest.fixture
def small_output(bench: Bench) -> Iterator[Path]:
    """Mount a filesystem of 16 MiB as the output folder."""
    bench.output.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", bench.output], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount a small filesystem")
    yield bench.output
    subprocess.run(["umount", "--lazy", bench.output], check=True)


def resize(filesystem: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", filesystem], check=True)


def test_full_disk_stops_the_run_and_fails_no_whole(
    bench: Bench, small_output: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The parts alone would fit. Wholes that fit are joined before the run stops, and the same command continues."""
    plan = write_plan(bench, b=create_whole("b", size=12 * 2**20), a=create_whole("a"))
    assert run_assembly(bench, plan, "--order", "manifest") == 1
    log = capfd.readouterr().err
    assert re.search(
        rf"the disk of {small_output} has too little room: 1\d(\.\d)? MiB is free, and b needs about 24 MiB "
        r"\(12 MiB for its parts, 12 MiB for the whole\); free some space .*run the same command again",
        log,
    )
    assert bench.summary["state"] == "failed"
    assert bench.failures == {}
    assert {name: bench.items[name]["outcome"] for name in "ab"} == {"a": "done", "b": "remaining"}
    assert sorted(bench.take_started_items()) == ["a", "a0", "a1"]
    resize(small_output, "32m")
    assert run_assembly(bench, plan) == 0
    assert sorted(bench.take_started_items()) == ["b", "b0", "b1"]


def test_wholes_that_do_not_fit_together_run_in_sequence(bench: Bench, small_output: Path) -> None:
    """Test a disk that is smaller than --scratch, which allows all parts together."""
    plan = write_plan(bench, a=create_whole("a", size=5 * 2**20), b=create_whole("b", size=5 * 2**20))
    assert run_assembly(bench, plan, "--scratch", 2**40) == 0
    assert {name: bench.items[name]["parts_there"] for name in "ab"} == {"a": 2, "b": 2}


def test_finished_parts_need_no_space_again(bench: Bench, small_output: Path) -> None:
    size = 5 * 2**20
    assert run_assembly(bench, write_plan(bench, a=create_whole("a", size=size, a1={"do": "raise_bad_input"}))) == 3
    resize(small_output, "9m")
    assert run_assembly(bench, write_plan(bench, a=create_whole("a", size=size))) == 0


def test_max_items_counts_wholes(bench: Bench) -> None:
    plan = write_plan(bench, a=create_whole("a", 3), b=create_whole("b", 3), c=create_whole("c", 3))
    assert run_assembly(bench, plan, "--max-items", 1, "--order", "manifest") == 0
    assert sorted(bench.take_started_items()) == ["a", "a0", "a1", "a2"]
    assert [bench.items[name]["outcome"] for name in "abc"] == ["done", "remaining", "remaining"]
    assert run_assembly(bench, plan, "--max-items", 1, "--order", "manifest") == 0
    assert sorted(bench.take_started_items()) == ["b", "b0", "b1", "b2"]


def test_dry_run_predicts_parts_and_wholes(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    plan = write_plan(bench, a=create_whole("a", size=2**30))
    assert run_assembly(bench, plan, "--dry-run") == 0
    log = capfd.readouterr().err
    assert "faults: 2 to do: new (a0; a1)" in log
    assert "wholes: 1 item, 0 cached, 1 to do" in log
    assert "wholes: predicted from 1 probed item" in log
    assert "at most 2 GiB of disk space, 1 GiB of it for a while" in log
    assert not bench.output.exists()


def test_refresh_runs_everything_again(bench: Bench) -> None:
    plan = write_plan(bench, a=create_whole("a"))
    assert run_assembly(bench, plan) == 0
    bench.take_started_items()
    assert run_assembly(bench, plan, "--refresh") == 0
    assert sorted(bench.take_started_items()) == ["a", "a0", "a1"]


def test_killed_run_continues_with_finished_parts(bench: Bench) -> None:
    gate = bench.folder / "gate"
    plan = write_plan(bench, a=create_whole("a", 3, a2={"do": "wait_for", "gate": str(gate)}))
    options = "--plan", plan, "--output-dir", bench.output, "--workers", 1, "--order", "manifest"
    records = bench.output / ".headrace" / "records" / "faults"
    with bench.start_flow(*options, flow=FLOW) as started:
        wait_until(lambda: (records / "a1.json").exists() and "a2" in bench.count_tries(), "the third part is running")
        started.process.kill()
        started.process.wait()
    gate.touch()
    bench.take_started_items()
    assert run_assembly(bench, plan) == 0
    assert sorted(bench.take_started_items()) == ["a", "a2"]


def test_kept_parts_are_removed_by_a_later_run(bench: Bench) -> None:
    plan = write_plan(bench, a=create_whole("a"))
    assert run_assembly(bench, plan, "--keep") == 0
    assert list_parts(bench) == ["a0", "a1"]
    assert run_assembly(bench, plan) == 0
    assert list_parts(bench) == []
    assert sorted(bench.take_started_items()) == ["a", "a0", "a1"]
