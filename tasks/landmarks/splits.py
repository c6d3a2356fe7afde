"""What lies beside the landmarks of each split: figures a sample, a summary, and what failed."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from tasks.engine.contract.stage import Value
from tasks.landmarks.metrics_columns import COLUMNS, DAMAGE, QUALITY, SAMPLE, SEPARATOR

Outcome = Literal["done", "cached", "failed", "remaining"]
METRICS_NAME = "extraction_metrics.csv"
SUMMARY_NAME = "extraction_summary.json"
FAILED_NAME = "failed_samples.json"

_OWN = frozenset(column.name for column in COLUMNS)
_SPEEDS = ("mean", "median", "p5", "p95", "min", "max")
_COVERAGES = ("mean", "median", "min")


@dataclass(frozen=True)
class SampleAccount:
    """What became of one sample.

    annotation   what the collection says of it, as with a corpus's sentence; None where it says nothing
    fields       columns carried from the manifest
    seconds      wall time of the item in the run that did it; so for ``cpu_seconds``. None where unknown or not run
    values       what the stage reported; there for ``done`` and ``cached``, None else
    outputs      its files, relative to the output folder
    title        its name as the collection has it; empty if that is ``name``, which is safe as a file name
    path         of its video or its folder of pictures, relative to the input
    """

    id: str
    split: str
    name: str
    outcome: Outcome
    annotation: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    failure_kind: str | None = None
    message: str | None = None
    attempts: int = 0
    seconds: float | None = None
    cpu_seconds: float | None = None
    values: Mapping[str, Value] | None = None
    outputs: tuple[str, ...] = ()
    title: str = ""
    path: str = ""


def write_split_files(
    output_dir: Path, accounts: Iterable[SampleAccount], workers: int, wall_seconds: float, models: Mapping[str, str]
) -> list[Path]:
    """Write ``OUTPUT_DIR/<split>/`` :data:`METRICS_NAME`, :data:`SUMMARY_NAME` and :data:`FAILED_NAME` for each split.

    ``accounts`` holds every sample of the run, also of an interrupted one; ``wall_seconds`` is the run's, ``models``
    the sha256 of each model file. Each file is there whole, old or new, whenever a kill comes. Gives the paths, in the
    order of the splits' names. Raises OSError where the folder takes no more files.
    """
    splits: dict[str, list[SampleAccount]] = {}
    everyone = list(accounts)
    for account in sorted(everyone, key=lambda account: (account.split, account.name, account.id)):
        splits.setdefault(account.split, []).append(account)
    run = _Run(workers, wall_seconds, _seconds(filter(_ran, everyone)), models)
    return [path for split, own in splits.items() for path in _write_split(output_dir / split, split, own, run)]


@dataclass(frozen=True)
class _Run:
    """What all splits of a run share."""

    workers: int
    wall_seconds: float
    sequential_seconds: float
    models: Mapping[str, str]


def _write_split(folder: Path, split: str, accounts: list[SampleAccount], run: _Run) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _replace(folder / METRICS_NAME, _metrics(accounts)),
        _replace(folder / SUMMARY_NAME, _json(_summary(split, accounts, run))),
        _replace(
            folder / FAILED_NAME, _json([_failure(account) for account in accounts if account.outcome == "failed"])
        ),
    ]


def _summary(split: str, accounts: Iterable[SampleAccount], run: _Run) -> dict[str, Any]:
    """What :data:`SUMMARY_NAME` says; its keys are declared in ``metrics_columns.SUMMARY_KEYS``.

    What cached samples took was taken in earlier runs, perhaps on other machines: it counts apart, and neither for the
    speed nor for the speed-up.
    """
    accounts = list(accounts)
    outcomes = Counter(account.outcome for account in accounts)
    ran = [account for account in accounts if _ran(account)]
    done = [account for account in accounts if account.outcome == "done"]
    cached = [account for account in accounts if account.outcome == "cached"]
    return {
        "split": split,
        "samples": {"total": len(accounts)} | {outcome: outcomes[outcome] for outcome in get_args(Outcome)},
        "frames": _frames(done),
        "sequential_seconds": _seconds(ran),
        "cpu_seconds": _cpu_seconds(ran),
        "cached": {
            "frames": _frames(cached),
            "sequential_seconds": _seconds(cached),
            "cpu_seconds": _cpu_seconds(cached),
        },
        "wall_seconds": round(run.wall_seconds, 3),
        "run_sequential_seconds": run.sequential_seconds,
        "speedup": _speedup(run),
        "frames_per_second": _spread(_numbers(map(_frames_per_second, done)), _SPEEDS),
        "coverage": _coverage([*done, *cached]),
        "without_person": sum(map(_is_empty, [*done, *cached])),
        "failure_kinds": _failure_kinds(accounts),
        "workers": run.workers,
        "models": dict(sorted(run.models.items())),
    }


def _failure_kinds(accounts: Iterable[SampleAccount]) -> dict[str, int]:
    kinds = Counter(account.failure_kind or "error" for account in accounts if account.outcome == "failed")
    return dict(sorted(kinds.items()))


def _ran(account: SampleAccount) -> bool:
    return account.outcome in ("done", "failed")


def _seconds(accounts: Iterable[SampleAccount]) -> float:
    return round(math.fsum(account.seconds or 0.0 for account in accounts), 3)


def _cpu_seconds(accounts: Iterable[SampleAccount]) -> float:
    return round(math.fsum(account.cpu_seconds or 0.0 for account in accounts), 3)


def _speedup(run: _Run) -> float | None:
    nothing_ran = run.sequential_seconds <= 0 or run.wall_seconds <= 0
    return None if nothing_ran else round(run.sequential_seconds / run.wall_seconds, 3)


def _frames(accounts: Iterable[SampleAccount]) -> int:
    return sum(int(frames) for frames in (_value(account, "frames") for account in accounts) if frames is not None)


def _value(account: SampleAccount, name: str) -> float | None:
    """A figure of the stage; None where it has none."""
    value = (account.values or {}).get(name)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _frames_per_second(account: SampleAccount) -> float | None:
    frames = _value(account, "frames")
    return None if frames is None or not account.seconds else frames / account.seconds


def _coverage(accounts: list[SampleAccount]) -> dict[str, dict[str, float] | None]:
    return {
        name: _spread(_numbers(_value(account, f"{name}_coverage") for account in accounts), _COVERAGES)
        for name in ("pose", "face", "hand", "any_hand")
    }


def _is_empty(account: SampleAccount) -> bool:
    shares = _numbers(_value(account, f"{name}_coverage") for name in ("pose", "face", "any_hand"))
    return bool(shares) and not any(shares)


def _numbers(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


_MEASURES: Mapping[str, Callable[[list[float]], Any]] = {
    "mean": np.mean,
    "median": np.median,
    "p5": lambda numbers: np.percentile(numbers, 5),
    "p95": lambda numbers: np.percentile(numbers, 95),
    "min": min,
    "max": max,
}


def _spread(numbers: list[float], measures: Iterable[str]) -> dict[str, float] | None:
    return {name: round(float(_MEASURES[name](numbers)), 4) for name in measures} if numbers else None


def _failure(account: SampleAccount) -> dict[str, Any]:
    return {
        "id": account.id,
        "name": account.title or account.name,
        "path": account.path or None,
        "failure_kind": account.failure_kind,
        "message": account.message,
        "attempts": account.attempts,
    }


def _metrics(accounts: Iterable[SampleAccount]) -> str:
    """RFC 4180, with a header: a row for each sample that is done, cached ones included. Empty is missing."""
    rows = [account for account in accounts if account.outcome in ("done", "cached")]
    carried = _carried(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*(column.name for column in COLUMNS), *carried.values()])
    writer.writerows([*_cells(account), *(_cell(account.fields.get(name)) for name in carried)] for account in rows)
    return text.getvalue()


def _carried(accounts: Iterable[SampleAccount]) -> dict[str, str]:
    """The manifest's columns, in their order, with the names that they get: none may hide one of ours."""
    names = dict.fromkeys(name for account in accounts for name in account.fields)
    taken, carried = {*_OWN, *names}, {}
    for name in names:
        carried[name] = name if name not in _OWN else _free(f"manifest_{name}", taken)
        taken.add(carried[name])
    return carried


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _cells(account: SampleAccount) -> list[object]:
    own = {
        "id": account.id,
        "name": account.title or account.name,
        "file_name": account.name,
        "path": account.path or None,
        "outcome": account.outcome,
        "annotation": account.annotation,
        "outputs": SEPARATOR.join(account.outputs),
        "seconds": account.seconds,
        "cpu_seconds": account.cpu_seconds,
        "frames_per_second": _rounded(_frames_per_second(account)),
    }
    values = account.values or {}
    return [_cell(own[column.name]) for column in SAMPLE] + [
        _cell(values.get(column.name)) for column in (*QUALITY, *DAMAGE)
    ]


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _cell(value: object) -> object:
    """What csv writes of it: a float as repr does, so that it reads back as it was; a list or an object as JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bool | list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def _json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _replace(path: Path, text: str) -> Path:
    """Put ``text`` at ``path``, whole or not at all: a temporary name beside it, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
