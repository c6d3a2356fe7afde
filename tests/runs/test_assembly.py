"""Wholes that are made of parts: parts go when the whole is there, and no part is made twice."""

from __future__ import annotations

import json
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


def whole(name: str, parts: int = 2, size: int = 0, **special: dict[str, Any]) -> dict[str, Any]:
    """A whole whose parts write; ``special`` are payloads of single parts, by their names."""
    return {"parts": {f"{name}{number}": special.get(f"{name}{number}", {}) for number in range(parts)}, "bytes": size}


def run(bench: Bench, plan: Path, *options: object, small: bool = True) -> int:
    return bench.run("--plan", plan, "--output-dir", bench.output, *options, flow=FLOW, small=small)


def left_parts(bench: Bench) -> list[str]:
    return sorted(path.name for path in (bench.output / "made").glob("*")) if (bench.output / "made").exists() else []


def test_parts_are_made_put_together_and_removed(bench: Bench) -> None:
    plan = write_plan(bench, a=whole("a"), b=whole("b"))
    assert run(bench, plan, small=False) == 0
    assert (bench.output / "wholes" / "a.txt").read_text() == "a0 text\na1 text\n"
    assert left_parts(bench) == []
    assert sorted(bench.new_tries()) == ["a", "a0", "a1", "b", "b0", "b1"]
    assert run(bench, plan) == 0
    assert bench.new_tries() == []
    assert bench.counts() == (0, 2, 0, 0)


def test_a_new_whole_costs_its_own_parts_alone(bench: Bench) -> None:
    assert run(bench, write_plan(bench, a=whole("a"))) == 0
    bench.new_tries()
    assert run(bench, write_plan(bench, a=whole("a"), b=whole("b"))) == 0
    assert sorted(bench.new_tries()) == ["b", "b0", "b1"]


def test_a_whole_that_is_gone_is_made_again_with_its_parts(bench: Bench) -> None:
    plan = write_plan(bench, a=whole("a"), b=whole("b"))
    assert run(bench, plan) == 0
    bench.new_tries()
    (bench.output / "wholes" / "b.txt").unlink()
    assert run(bench, plan) == 0
    assert sorted(bench.new_tries()) == ["b", "b0", "b1"]


def test_a_part_that_fails_costs_its_whole_alone_and_the_others_are_kept(bench: Bench) -> None:
    plan = write_plan(bench, a=whole("a", a1={"do": "raise_bad_input"}), b=whole("b"))
    assert run(bench, plan) == 3
    assert bench.failures["a"]["message"].endswith("without a1")
    assert set(bench.failures) == {"a", "a1"}
    assert left_parts(bench) == ["a0"]
    bench.new_tries()
    mended = write_plan(bench, a=whole("a"), b=whole("b"))
    assert run(bench, mended) == 0
    assert sorted(bench.new_tries()) == ["a", "a1"]
    assert left_parts(bench) == []


def test_parts_of_one_group_are_gone_before_the_next_begins(bench: Bench) -> None:
    plan = write_plan(bench, a=whole("a", size=100), b=whole("b", size=100), c=whole("c", size=100))
    assert run(bench, plan, "--scratch", 200) == 0
    there = {name: bench.items[name]["parts_there"] for name in "abc"}
    assert sorted(there.values()) == [2, 4, 4]


def test_a_whole_without_room_fails_and_says_so(bench: Bench) -> None:
    plan = write_plan(bench, a=whole("a"), b=whole("b", size=2**60))
    assert run(bench, plan) == 3
    assert "make room" in bench.failures["b"]["message"]
    assert set(bench.failures) == {"b"}
    assert sorted(bench.new_tries()) == ["a", "a0", "a1", "b"]


def test_max_items_counts_wholes(bench: Bench) -> None:
    plan = write_plan(bench, a=whole("a", 3), b=whole("b", 3), c=whole("c", 3))
    assert run(bench, plan, "--max-items", 1, "--order", "manifest") == 0
    assert sorted(bench.new_tries()) == ["a", "a0", "a1", "a2"]
    assert [bench.items[name]["outcome"] for name in "abc"] == ["done", "remaining", "remaining"]
    assert run(bench, plan, "--max-items", 1, "--order", "manifest") == 0
    assert sorted(bench.new_tries()) == ["b", "b0", "b1", "b2"]


def test_a_dry_run_says_what_would_be_made(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    plan = write_plan(bench, a=whole("a", size=2**30))
    assert run(bench, plan, "--dry-run") == 0
    said = capfd.readouterr().err
    assert "1 to put together, about 1.0 GiB" in said
    assert not bench.output.exists()


def test_refresh_makes_everything_again(bench: Bench) -> None:
    plan = write_plan(bench, a=whole("a"))
    assert run(bench, plan) == 0
    bench.new_tries()
    assert run(bench, plan, "--refresh") == 0
    assert sorted(bench.new_tries()) == ["a", "a0", "a1"]


def test_what_is_killed_goes_on_with_the_parts_that_are_done(bench: Bench) -> None:
    gate = bench.folder / "gate"
    plan = write_plan(bench, a=whole("a", 3, a2={"do": "wait_for", "gate": str(gate)}))
    options = "--plan", plan, "--output-dir", bench.output, "--workers", 1, "--order", "manifest"
    records = bench.output / ".headrace" / "records" / "faults"
    with bench.started(*options, flow=FLOW) as started:
        wait_until(lambda: (records / "a1.json").exists() and "a2" in bench.tries(), "the third part is begun")
        started.process.kill()
        started.process.wait()
    gate.touch()
    bench.new_tries()
    assert run(bench, plan) == 0
    assert sorted(bench.new_tries()) == ["a", "a2"]


def test_parts_may_stay_and_go_with_a_later_run(bench: Bench) -> None:
    plan = write_plan(bench, a=whole("a"))
    assert run(bench, plan, "--keep") == 0
    assert left_parts(bench) == ["a0", "a1"]
    assert run(bench, plan) == 0
    assert left_parts(bench) == []
    assert sorted(bench.new_tries()) == ["a", "a0", "a1"]
