"""Files next to the landmarks of each split: figures per sample, a summary, and the failed samples."""

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
from tasks.landmarks.metrics_columns import COLUMNS, CONVERSION, DAMAGE, QUALITY, SAMPLE, SEPARATOR

Outcome = Literal["done", "cached", "failed", "remaining"]
METRICS_NAME = "extraction_metrics.csv"
SUMMARY_NAME = "extraction_summary.json"
FAILED_NAME = "failed_samples.json"

_OWN = frozenset(column.name for column in COLUMNS)
_SPEEDS = ("mean", "median", "p5", "p95", "min", "max")
_COVERAGES = ("mean", "median", "min")


@dataclass(frozen=True)
class SampleResult:
    """The result of one sample.

    annotation   text of the collection, such as a corpus's sentence; None if there is none
    fields       columns copied from the manifest
    seconds      wall time of the item in the run that did it (``cpu_seconds`` likewise); None if unknown or not run
    values       figures from the stage for ``done`` and ``cached``, otherwise None
    outputs      its files, relative to the output folder
    title        name in the collection; empty if equal to ``name``, which is safe as a file name
    path         its video or image folder, relative to the input
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
    output_dir: Path, results: Iterable[SampleResult], workers: int, wall_seconds: float, models: Mapping[str, str]
) -> list[Path]:
    """Write ``OUTPUT_DIR/<split>/`` :data:`METRICS_NAME`, :data:`SUMMARY_NAME` and :data:`FAILED_NAME` for each split.

    ``results`` has every sample of the run, even if it was interrupted. ``wall_seconds`` is the run's; ``models`` has
    the sha256 of each model file. Files are replaced atomically. Returns the paths, sorted by split name. Raises
    OSError if the folder is not writable.
    """
    splits: dict[str, list[SampleResult]] = {}
    all_results = list(results)
    for result in sorted(all_results, key=lambda result: (result.split, result.name, result.id)):
        splits.setdefault(result.split, []).append(result)
    run = _RunFigures(workers, wall_seconds, _sum_seconds(filter(_has_run, all_results)), models)
    return [
        path
        for split, split_results in splits.items()
        for path in _write_split(output_dir / split, split, split_results, run)
    ]


@dataclass(frozen=True)
class _RunFigures:
    """Figures of the run that all its splits share."""

    workers: int
    wall_seconds: float
    sequential_seconds: float
    models: Mapping[str, str]


def _write_split(folder: Path, split: str, results: list[SampleResult], run: _RunFigures) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _write_atomically(folder / METRICS_NAME, _format_metrics(results)),
        _write_atomically(folder / SUMMARY_NAME, _format_json(_summarize(split, results, run))),
        _write_atomically(
            folder / FAILED_NAME,
            _format_json([_describe_failure(result) for result in results if result.outcome == "failed"]),
        ),
    ]


def _summarize(split: str, results: Iterable[SampleResult], run: _RunFigures) -> dict[str, Any]:
    """Return the contents of :data:`SUMMARY_NAME`; ``metrics_columns.SUMMARY_KEYS`` declares its keys.

    Cached samples ran earlier, perhaps on other machines. Their times are listed separately, and do not enter the speed
    or the speedup.
    """
    results = list(results)
    outcomes = Counter(result.outcome for result in results)
    ran = [result for result in results if _has_run(result)]
    done = [result for result in results if result.outcome == "done"]
    cached = [result for result in results if result.outcome == "cached"]
    return {
        "split": split,
        "samples": {"total": len(results)} | {outcome: outcomes[outcome] for outcome in get_args(Outcome)},
        "frames": _sum_frames(done),
        "sequential_seconds": _sum_seconds(ran),
        "cpu_seconds": _sum_cpu_seconds(ran),
        "cached": {
            "frames": _sum_frames(cached),
            "sequential_seconds": _sum_seconds(cached),
            "cpu_seconds": _sum_cpu_seconds(cached),
        },
        "wall_seconds": round(run.wall_seconds, 3),
        "run_sequential_seconds": run.sequential_seconds,
        "speedup": _compute_speedup(run),
        "frames_per_second": _summarize_values(_drop_missing(map(_compute_speed, done)), _SPEEDS),
        "coverage": _summarize_coverage([*done, *cached]),
        "without_person": sum(map(_is_empty, [*done, *cached])),
        "failure_kinds": _count_failure_kinds(results),
        "workers": run.workers,
        "models": dict(sorted(run.models.items())),
    }


def _count_failure_kinds(results: Iterable[SampleResult]) -> dict[str, int]:
    kinds = Counter(result.failure_kind or "error" for result in results if result.outcome == "failed")
    return dict(sorted(kinds.items()))


def _has_run(result: SampleResult) -> bool:
    return result.outcome in ("done", "failed")


def _sum_seconds(results: Iterable[SampleResult]) -> float:
    return round(math.fsum(result.seconds or 0.0 for result in results), 3)


def _sum_cpu_seconds(results: Iterable[SampleResult]) -> float:
    return round(math.fsum(result.cpu_seconds or 0.0 for result in results), 3)


def _compute_speedup(run: _RunFigures) -> float | None:
    is_idle = run.sequential_seconds <= 0 or run.wall_seconds <= 0
    return None if is_idle else round(run.sequential_seconds / run.wall_seconds, 3)


def _sum_frames(results: Iterable[SampleResult]) -> int:
    return sum(int(frames) for frames in (_get_value(result, "frames") for result in results) if frames is not None)


def _get_value(result: SampleResult, name: str) -> float | None:
    """Return a figure of the stage; None if it has no value."""
    value = (result.values or {}).get(name)
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def _compute_speed(result: SampleResult) -> float | None:
    frames = _get_value(result, "frames")
    return None if frames is None or not result.seconds else frames / result.seconds


def _summarize_coverage(results: list[SampleResult]) -> dict[str, dict[str, float] | None]:
    return {
        name: _summarize_values(_drop_missing(_get_value(result, f"{name}_coverage") for result in results), _COVERAGES)
        for name in ("pose", "face", "hand", "any_hand")
    }


def _is_empty(result: SampleResult) -> bool:
    shares = _drop_missing(_get_value(result, f"{name}_coverage") for name in ("pose", "face", "any_hand"))
    return bool(shares) and not any(shares)


def _drop_missing(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


_MEASURES: Mapping[str, Callable[[list[float]], Any]] = {
    "mean": np.mean,
    "median": np.median,
    "p5": lambda numbers: np.percentile(numbers, 5),
    "p95": lambda numbers: np.percentile(numbers, 95),
    "min": min,
    "max": max,
}


def _summarize_values(numbers: list[float], measures: Iterable[str]) -> dict[str, float] | None:
    return {name: round(float(_MEASURES[name](numbers)), 4) for name in measures} if numbers else None


def _describe_failure(result: SampleResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "name": result.title or result.name,
        "path": result.path or None,
        "failure_kind": result.failure_kind,
        "message": result.message,
        "attempts": result.attempts,
    }


def _format_metrics(results: Iterable[SampleResult]) -> str:
    """Return the CSV (RFC 4180 with a header): a row per done or cached sample. Empty cells are missing values."""
    rows = [result for result in results if result.outcome in ("done", "cached")]
    carried = _name_carried_columns(rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow([*(column.name for column in COLUMNS), *carried.values()])
    writer.writerows(
        [*_list_cells(result), *(_format_cell(result.fields.get(name)) for name in carried)] for result in rows
    )
    return text.getvalue()


def _name_carried_columns(results: Iterable[SampleResult]) -> dict[str, str]:
    """Return the manifest's columns in order, with new names for those that clash with ours."""
    names = dict.fromkeys(name for result in results for name in result.fields)
    used_names, carried = {*_OWN, *names}, {}
    for name in names:
        carried[name] = name if name not in _OWN else _find_free_name(f"manifest_{name}", used_names)
        used_names.add(carried[name])
    return carried


def _find_free_name(name: str, used_names: set[str]) -> str:
    while name in used_names:
        name += "_"
    return name


def _list_cells(result: SampleResult) -> list[object]:
    own_values = {
        "id": result.id,
        "name": result.title or result.name,
        "file_name": result.name,
        "path": result.path or None,
        "outcome": result.outcome,
        "annotation": result.annotation,
        "outputs": SEPARATOR.join(result.outputs),
        "seconds": result.seconds,
        "cpu_seconds": result.cpu_seconds,
        "frames_per_second": _round(_compute_speed(result)),
    }
    values = result.values or {}
    return [_format_cell(own_values[column.name]) for column in SAMPLE] + [
        _format_cell(values.get(column.name)) for column in (*QUALITY, *CONVERSION, *DAMAGE)
    ]


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _format_cell(value: object) -> object:
    """Return the value as csv writes it: floats as repr, so that they read back exactly; lists and objects as JSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, bool | list | tuple | dict):
        return json.dumps(value, ensure_ascii=False)
    return value


def _format_json(content: Any) -> str:
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _write_atomically(path: Path, text: str) -> Path:
    """Write ``text`` to ``path`` atomically: a temporary file next to it, fsync, rename."""
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
