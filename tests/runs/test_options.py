"""Test changes that re-run items, and every option of Execution, by the starts that items record."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.runs.bench import Bench, hash_files, list_files, load_records


def create_rows(*names: str, **more: object) -> list[dict[str, object]]:
    return [{"id": name, **more} for name in names]


def shift_mtime(path: Path, seconds: int) -> None:
    """Change a file's mtime but not its content."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + seconds * 10**9))


def test_repeated_run_starts_no_item_and_reports_the_same(bench: Bench) -> None:
    bench.write_manifest(*create_rows("a", "b", "c"))
    assert bench.run(small=False) == 0
    assert sorted(bench.take_started_items()) == ["a", "b", "c"]
    made, first = list_files(bench.output / "made"), bench.items
    assert bench.run("--workers", 3, "--order", "lightest", "--shard-size", 1, "--timeout", 9) == 0
    assert bench.take_started_items() == []
    assert bench.count_items() == (0, 3, 0, 0)
    assert list_files(bench.output / "made") == made, "files keep their mtime"
    assert {name: {**row, "outcome": "done"} for name, row in bench.items.items()} == first


def test_only_items_with_missing_or_changed_outputs_run_again(bench: Bench) -> None:
    bench.write_manifest(*create_rows("gone", "longer", "same-size", "untouched", "folder-gone"))
    assert bench.run() == 0
    bench.take_started_items()
    made = hash_files(bench.output / "made")
    (bench.output / "made/gone/note.txt").unlink()
    with (bench.output / "made/longer/note.txt").open("a") as stream:
        stream.write("more")
    altered = bench.output / "made/same-size/note.txt"
    altered.write_text(altered.read_text().replace("t", "T"))
    (bench.output / "made/folder-gone").rename(bench.folder / "elsewhere")

    assert bench.run() == 0
    assert sorted(bench.take_started_items()) == ["folder-gone", "gone", "longer"]
    assert bench.count_items() == (3, 2, 0, 0)
    assert bench.run("--verify", "digest") == 0
    assert bench.take_started_items() == ["same-size"]
    assert hash_files(bench.output / "made") == made


def test_items_with_damaged_or_copied_records_run_again(bench: Bench) -> None:
    bench.write_manifest(*create_rows("torn", "empty", "garbage", "copied", "whole"))
    assert bench.run() == 0
    bench.take_started_items()
    made, kept = hash_files(bench.output / "made"), load_records(bench.output)
    folder = bench.output / ".headrace/records/faults"
    torn = (folder / "torn.json").read_bytes()
    (folder / "torn.json").write_bytes(torn[: len(torn) // 2])
    (folder / "empty.json").write_bytes(b"")
    (folder / "garbage.json").write_bytes(b"\x00\xff{}]")
    (folder / "copied.json").write_bytes((folder / "whole.json").read_bytes())
    assert bench.run() == 0
    assert sorted(bench.take_started_items()) == ["copied", "empty", "garbage", "torn"]
    assert (hash_files(bench.output / "made"), load_records(bench.output)) == (made, kept)


def test_file_that_moves_to_another_item_is_kept(bench: Bench) -> None:
    """A sample may move from one video to another; the order of the items must not matter."""
    tapes = [bench.folder / name for name in ("x", "y")]
    for tape in tapes:
        tape.write_text(tape.name)
    x, y = map(str, tapes)
    for of_a, of_b, left in [([x, y], [], "xy"), ([x], [y], "xy"), ([x, y], [], "xy"), ([x], [], "x")]:
        bench.write_manifest({"id": "a", "do": "gather", "inputs": of_a}, {"id": "b", "do": "gather", "inputs": of_b})
        assert bench.run("--order", "manifest", "--workers", 1) == 0
        assert set(hash_files(bench.output / "made")) == set(left), "only files without an item are removed"
    assert list(bench.output.rglob("*.stale")) == []


def test_changed_parameter_payload_or_input_runs_affected_items(bench: Bench) -> None:
    tape = bench.folder / "tape"
    tape.write_text("tape")
    reads: dict[str, Any] = {"do": "copy", "inputs": [str(tape)]}
    bench.write_manifest(*create_rows("a", "b"), {"id": "reads", **reads})
    assert bench.run() == 0
    bench.take_started_items()
    bench.write_manifest({"id": "reads", **reads}, {"id": "b", "seconds": 1}, *create_rows("a", rank=5, cost=7))
    assert bench.run() == 0
    assert bench.take_started_items() == ["b"], "its payload changed; rank, cost and position do not affect results"
    tape.write_text("another tape")
    assert bench.run() == 0
    assert bench.take_started_items() == ["reads"]
    assert (bench.output / "made/reads/tape").read_text() == "another tape"
    assert bench.run("--text", "other") == 0
    assert sorted(bench.take_started_items()) == ["a", "b", "reads"]
    assert (bench.output / "made/a/note.txt").read_text() == "a other\n"


def test_moved_input_with_the_same_mtime_is_unchanged(bench: Bench) -> None:
    first, second = bench.folder / "first", bench.folder / "second"
    first.mkdir()
    (first / "tape").write_text("tape")
    bench.write_manifest({"id": "a", "do": "copy", "inputs": [str(first / "tape")]})
    assert bench.run() == 0
    first.rename(second)
    bench.write_manifest({"id": "a", "do": "copy", "inputs": [str(second / "tape")]})
    assert bench.run() == 0
    assert len(bench.take_started_items()) == 1


@pytest.mark.parametrize(("identity", "runs_again"), [("stat", ["a"]), ("content", [])])
def test_touched_input_runs_again_unless_identified_by_content(
    bench: Bench, identity: str, runs_again: list[str]
) -> None:
    tape = bench.folder / "tape"
    tape.write_text("tape")
    bench.write_manifest({"id": "a", "do": "copy", "inputs": [str(tape)]})
    assert bench.run("--identity", identity) == 0
    bench.take_started_items()
    shift_mtime(tape, 60)
    assert bench.run("--identity", identity) == 0
    assert bench.take_started_items() == runs_again


def test_refresh_runs_everything_again(bench: Bench) -> None:
    bench.write_manifest(*create_rows("a", "b"))
    assert bench.run() == 0
    kept = load_records(bench.output)
    bench.take_started_items()
    assert bench.run("--refresh") == 0
    assert sorted(bench.take_started_items()) == ["a", "b"]
    assert bench.count_items() == (2, 0, 0, 0)
    assert load_records(bench.output) == kept


def test_failed_items_run_again_unless_keep_failed(bench: Bench) -> None:
    bench.write_manifest(*create_rows("good"), *create_rows("bad", do="raise_bad_input"))
    assert bench.run() == 3
    assert sorted(bench.take_started_items()) == ["bad", "good"]
    assert bench.run("--keep-failed") == 3
    assert bench.take_started_items() == []
    assert bench.count_items() == (0, 1, 1, 0)
    assert bench.failures["bad"]["failure_kind"] == "bad_input"
    assert bench.run() == 3
    assert bench.take_started_items() == ["bad"]
    bench.write_manifest(*create_rows("good"), *create_rows("bad"))
    assert bench.run("--keep-failed") == 0, "a changed item is not the failed one"
    assert bench.take_started_items() == ["bad"]
    assert bench.failures == {}
    assert not list((bench.output / ".headrace/failures").rglob("*.json"))


def test_run_with_more_failures_than_max_failed_fails(bench: Bench) -> None:
    bench.write_manifest(*create_rows("good"), *create_rows("bad", do="raise_bad_input"))
    assert bench.run("--max-failed", "0.4") == 1
    assert bench.summary["state"] == "failed"
    assert bench.count_items() == (1, 0, 1, 0)


def test_max_items_leaves_the_rest_to_later_runs(bench: Bench) -> None:
    bench.write_manifest(*create_rows("a", "b", "c", "d", "e"))
    for expected in [(2, 0, 0, 3), (2, 2, 0, 1), (1, 4, 0, 0)]:
        assert bench.run("--max-items", 2) == 0
        assert bench.count_items() == expected
    assert sorted(bench.take_started_items()) == ["a", "b", "c", "d", "e"]


def test_transient_failures_are_retried(bench: Bench) -> None:
    def get_mark(name: str) -> str:
        return str(bench.folder / f"mark-{name}")

    again = {
        name: {"do": "pass_at_second_try", "mark": get_mark(name), "first": first}
        for name, first in [("away", "raise_transient"), ("crash", "segfault"), ("memory", "raise_memory_error")]
    }
    bench.write_manifest(
        *create_rows("good"),
        *({"id": name, **payload} for name, payload in again.items()),
        *create_rows("never", do="raise_transient"),
        *create_rows("wrong", do="raise"),
        *create_rows("bad", do="raise_bad_input"),
    )
    assert bench.run("--retries", 1, "--workers", 2) == 3
    assert bench.count_tries() == {"good": 1, "away": 2, "crash": 2, "memory": 2, "never": 2, "wrong": 1, "bad": 1}
    attempts = {name: row["attempts"] for name, row in bench.items.items()}
    assert attempts == dict(bench.count_tries())
    assert set(bench.failures) == {"never", "wrong", "bad"}
    order = [line.split()[:2] for line in bench.ledger.read_text().splitlines()]
    assert order[-2:] == [["start", "memory"], ["end", "memory"]], "runs alone after all other items"

    bench.take_started_items()
    for name in again:
        Path(get_mark(name)).unlink()
    assert bench.run("--retries", 0, "--refresh") == 3
    assert set(bench.count_tries().values()) == {1}
    assert len(bench.failures) == 6


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--order", "heaviest"], "cdba"),
        (["--priority", "rank", "--order", "lightest"], "dbac"),
    ],
)
def test_items_run_by_order_and_priority(bench: Bench, options: list[str], expected: str) -> None:
    bench.write_manifest(
        {"id": "b", "cost": 2, "rank": 1},
        {"id": "a", "cost": 1, "rank": None},
        {"id": "c", "cost": 4},
        {"id": "d", "cost": 3, "rank": 10},
    )
    one_shard = ("--workers", 1, "--shard-size", 4)  # with more shards, the next one may overtake the running one
    assert bench.run(*one_shard, *options) == 0
    assert bench.take_started_items() == list(expected)


def test_shard_size_is_the_number_of_items_per_shard(bench: Bench) -> None:
    bench.write_manifest(*create_rows(*(f"item-{number}" for number in range(7))))
    assert bench.run("--shard-size", 3, "--workers", 1) == 0
    assert bench.summary["shards"] == 3


def test_staged_inputs_are_temporary_copies(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    local = bench.folder / "local"
    local.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(local))
    tapes = [bench.folder / name / "tape" for name in ("one", "two")]
    for number, tape in enumerate(tapes):
        tape.parent.mkdir()
        tape.write_text(f"tape {number}")
    inputs = [str(tape) for tape in tapes]
    bench.write_manifest(
        {"id": "a", "do": "copy", "inputs": inputs[:1]},
        {"id": "b", "do": "copy", "inputs": inputs},
        {"id": "dies", "do": "segfault", "inputs": inputs},
        {"id": "hangs", "do": "hang_asleep", "inputs": inputs},
    )
    assert bench.run("--stage-inputs", "--timeout", 1, "--retries", 0) == 3
    assert (bench.output / "made/a/tape").read_text() == "tape 0"
    read_at = [*bench.items["a"]["read_at"], *bench.items["b"]["read_at"]]
    assert len(set(read_at)) == 3
    assert all(Path(path).is_relative_to(local) and Path(path).name == "tape" for path in read_at)
    assert list(local.rglob("*tape*")) == []
    assert [path.name for path in local.iterdir()] == [f"headrace-{os.geteuid()}"], "Dask's files are removed too"
    assert bench.run("--timeout", 1, "--retries", 0) == 3
    assert bench.count_items() == (0, 2, 2, 0), "the path of an input does not affect results"


def test_dry_run_reports_the_plan_and_writes_no_files(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    local = tmp_path_factory.mktemp("local")
    monkeypatch.setattr(tempfile, "tempdir", str(local))
    bench.write_manifest(*create_rows("a", "b"), *create_rows("bad", do="raise_bad_input"))
    before = list_files(bench.folder)
    assert bench.run("--dry-run") == 0
    log = capsys.readouterr().err
    assert "faults: 3 items, 0 cached, 3 to do" in log
    assert "the tape is torn" in log
    assert "predicted from 2 probed items" in log
    bench.take_started_items()
    assert list_files(bench.folder) == before
    assert [path for path in local.rglob("*") if path.name not in ("probes", f"headrace-{os.geteuid()}")] == []

    bench.write_manifest(*create_rows("a", "b"))
    assert bench.run() == 0
    bench.take_started_items()
    before = list_files(bench.folder)
    assert bench.run("--dry-run") == 0
    assert "faults: 2 items, 2 cached, 0 to do" in capsys.readouterr().err
    assert list_files(bench.folder) == before


def test_memory_per_item_limits_the_memory(bench: Bench) -> None:
    bench.write_manifest(*create_rows("eats", do="eat_memory"), *create_rows("good"))
    assert bench.run("--memory-per-item", "150MiB", "--retries", 0) == 3
    assert bench.failures["eats"]["failure_kind"] == "out_of_memory"
    assert "of 150 MiB allowed" in bench.failures["eats"]["message"]


def test_items_without_cost_run(bench: Bench) -> None:
    """A zero-byte video has no predicted cost."""
    bench.write_manifest(
        *create_rows(*(f"empty-{number}" for number in range(9)), cost=0), *create_rows("full", cost=3)
    )
    assert bench.run("--order", "lightest", "--workers", 1) == 0
    assert bench.count_items() == (10, 0, 0, 0)


def test_output_files_of_a_run(bench: Bench) -> None:
    bench.write_manifest(*create_rows("a"), *create_rows("bad", do="raise"))
    assert bench.run("--retries", 0, small=False) == 3
    visible = {path.name for path in bench.output.iterdir()}
    assert visible == {"made", "summary.json", "items.parquet", "failures.json", "report.html", ".headrace"}
    assert {path.name for path in (bench.output / ".headrace").iterdir()} >= {"records", "runs"}
    assert list((bench.output / ".headrace/private").iterdir()) == []
    assert [path.name for path in bench.output.rglob("*.tmp")] == []
    summary = bench.summary
    run = json.loads((bench.output / f".headrace/runs/{summary['run_id']}.json").read_text())
    assert (
        run["items"]
        == summary["items"]
        == {"total": 2, "done": 1, "cached": 0, "failed": 1, "remaining": 0, "upstream": 0}
    )
    assert {name: row["outcome"] for name, row in bench.items.items()} == {"a": "done", "bad": "failed"}
    assert (bench.output / bench.failures["bad"]["log"]).read_text().endswith("ValueError: first line\n  second line\n")


def test_dry_run_and_explanation_name_the_changes(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    tape = bench.folder / "tape"
    tape.write_text("one")
    bench.write_manifest(*create_rows("a", "b"), *create_rows("c", inputs=[str(tape)]))
    assert bench.run() == 0
    capsys.readouterr()
    before = list_files(bench.output)
    assert bench.run("--text", "other", "--explain", "a") == 0
    assert 'faults: a: would run: parameter `text` changed from "text" to "other"' in capsys.readouterr().err
    assert bench.run("--explain", "a") == 0
    assert "faults: a: is done" in capsys.readouterr().err
    assert bench.run("--explain", "z") == 2
    assert "--explain: 'z'" in capsys.readouterr().err

    tape.write_text("longer")
    assert bench.run("--explain", "c") == 0
    assert f"faults: c:   input: {tape}" in capsys.readouterr().err
    assert list_files(bench.output) == before
    (bench.output / "made/b/note.txt").unlink()
    bench.write_manifest(*create_rows("a", "b", "new"), *create_rows("c", inputs=[str(tape)]))
    assert bench.run("--dry-run") == 0
    log = capsys.readouterr().err
    for line in ("1 to do: new (new)", "1 to do: output missing (b)", "1 to do: input changed (c)"):
        assert f"faults: {line}" in log
