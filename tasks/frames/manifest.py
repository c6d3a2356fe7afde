"""Read samples from a question set, a table or a folder, and plan one item per video."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import Item, make_distinct_ids
from tasks.engine.contract.manifest import (
    InputFolder,
    Row,
    Table,
    cap_problems,
    collect_extra_columns,
    find_missing_columns,
    read_ids,
    read_table,
    shorten,
)
from tasks.engine.contract.text import showable
from tasks.media.folder import derive_ids, derive_names
from tasks.media.scan import scan_videos

REQUIRED = ("id", "video_path")
READ_COLUMNS = frozenset({*REQUIRED, "support_frames"})
# Columns that the dataset writes; a manifest column with such a name would be lost or misleading.
RESERVED = frozenset(
    {"video", "frames", "bad_frames", "support_seconds", "outside_seconds", "repeated_seconds", "dropped_seconds"}
)
_SECONDS = "a list of seconds, such as [1.5, 4.0]"
_SECONDS_TEXT = "seconds as [1.5, 4.0], or 1.5;4.0, or 1.5 4.0"


@dataclass(frozen=True)
class Sample:
    """One sample of the planned dataset.

    id               unique, safe as a file name
    video            path relative to the videos folder, forward slashes
    support_seconds  requested times from the first displayed frame, as given: unsorted, possibly outside the video
    fields           all other columns as JSON values; copied to the dataset
    where            location of its row, for messages
    name             id in the manifest, any text; empty if equal to ``id``
    refusal          reason why its video cannot be used, from the scan of the folder
    """

    id: str
    video: str
    support_seconds: tuple[float, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    where: str = field(default="", compare=False)
    name: str = ""
    refusal: str = ""

    @property
    def title(self) -> str:
        """Return the sample's id as written in the manifest."""
        return self.name or self.id


def read_samples(
    manifest: Path | None, videos_dir: Path, notes: list[str] | None = None
) -> tuple[list[Sample], list[Problem]]:
    """Return the samples of ``manifest``, or one sample per video under ``videos_dir`` if there is no manifest.

    Samples are in the manifest's order; rows with problems are left out. ``notes`` gets a line about files that are not
    read.
    """
    folder = InputFolder(videos_dir, "--videos-dir")
    folder_problems = folder.problems()
    if manifest is None:
        samples, problems = ([], []) if folder_problems else _scan(folder, [] if notes is None else notes)
        return samples, [*folder_problems, *cap_problems(problems)]
    table = read_table(manifest)
    samples, problems = _parse_samples(table, manifest.name, folder, check_paths=not folder_problems)
    return samples, [*folder_problems, *cap_problems([*table.problems, *folder.summarize_missing(problems)])]


def plan_videos(samples: Iterable[Sample], videos_dir: Path) -> list[Item]:
    """Return one item per video with the samples that share it, in the order of the manifest.

    The cost is the file size in MiB: it grows with duration and pixels, and needs a ``stat`` instead of a probe.
    """
    by_video: dict[str, list[Sample]] = {}
    for sample in samples:
        by_video.setdefault(sample.video, []).append(sample)
    root = videos_dir.absolute()
    ids = make_distinct_ids(list(by_video))
    return [
        _create_item(item_id, video, together, root / video)
        for item_id, (video, together) in zip(ids, by_video.items(), strict=True)
    ]


def _create_item(item_id: str, video: str, samples: Sequence[Sample], path: Path) -> Item:
    wanted = [{"id": sample.id, "support_seconds": list(sample.support_seconds)} for sample in samples]
    fields = {name: value for sample in reversed(samples) for name, value in sample.fields.items()}  # the first wins
    if refusal := next((sample.refusal for sample in samples if sample.refusal), ""):
        return Item(item_id, {"video": video}, name=PurePosixPath(video).name, path=video, refusal=refusal)
    size = path.stat().st_size if path.exists() else 0
    return Item(
        id=item_id,
        payload={"video": video, "samples": wanted},
        inputs=(str(path),),
        cost=size / 2**20,
        fields=fields,
        name=PurePosixPath(video).name,
        path=video,
    )


def _parse_samples(
    table: Table, manifest: str, folder: InputFolder, check_paths: bool
) -> tuple[list[Sample], list[Problem]]:
    if not table.rows:
        return [], []
    problems = [*find_missing_columns(table, REQUIRED, manifest), *_find_reserved_columns(table, manifest)]
    names, id_problems = read_ids(table.rows)
    problems += id_problems
    ids = _assign_ids(names)
    samples: list[Sample] = []
    for row, name in zip(table.rows, names, strict=True):
        sample, row_problems = _parse_sample(row, name, ids, folder, check_paths)
        problems += row_problems
        samples += [sample] if sample else []
    return samples, problems


def _find_reserved_columns(table: Table, name: str) -> list[Problem]:
    allowed = f"names other than {', '.join(sorted(RESERVED))}"
    advice = "rename it: the dataset writes a column with this name"
    return [Problem(name, f"the column {column!r}", allowed, advice) for column in table.columns if column in RESERVED]


def _assign_ids(names: Iterable[str | None]) -> dict[str, str]:
    given = [name for name in names if name is not None]
    return dict(zip(given, make_distinct_ids(given), strict=True))


def _parse_sample(
    row: Row, name: str | None, ids: Mapping[str, str], folder: InputFolder, check: bool
) -> tuple[Sample | None, list[Problem]]:
    fields, problems = collect_extra_columns(row, READ_COLUMNS)
    seconds = _parse_support_seconds(row)
    video = _parse_video_path(row, folder) if check else ""
    problems += [value for value in (seconds, video) if isinstance(value, Problem)]
    if name is None or isinstance(seconds, Problem) or not isinstance(video, str):
        return None, problems
    return _create_sample(ids[name], name, video, seconds, fields, row.where), problems


def _create_sample(sample_id: str, name: str, *rest: Any) -> Sample:
    return replace(Sample(sample_id, *rest), name="" if name == sample_id else name)


def _parse_video_path(row: Row, folder: InputFolder) -> str | Problem | None:
    given = row.values.get("video_path")
    return None if given in (None, "") else folder.relative(given, f"{row.where}, video_path")


def _parse_support_seconds(row: Row) -> tuple[float, ...] | Problem:
    """Return the row's timestamps, () for a missing or empty cell. CSV cells are text."""
    given = row.values.get("support_frames")
    if given is None:
        return ()
    seconds = _parse_numbers(given) if row.typed else _parse_number_text(given)
    if seconds is None:
        allowed = _SECONDS if row.typed else _SECONDS_TEXT
        return row.problem("support_frames", shorten(given), allowed, "correct it, or leave it empty")
    return seconds


def _parse_numbers(given: object) -> tuple[float, ...] | None:
    """Return ``given`` as floats, or None unless it is a list of finite numbers."""
    if not isinstance(given, list):
        return None
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return None
    try:
        numbers = tuple(float(value) for value in given)
    except OverflowError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _parse_number_text(text: str) -> tuple[float, ...] | None:
    try:
        if text.lstrip().startswith("["):
            return _parse_numbers(json.loads(text))
        return _parse_numbers([float(part) for part in re.split(r"[;\s]+", text.strip()) if part])
    except (ValueError, RecursionError):
        return None


def _scan(folder: InputFolder, notes: list[str]) -> tuple[list[Sample], list[Problem]]:
    """Return one sample per video found in the folder, and the problems."""
    files, problems = scan_videos(folder, notes)
    named = zip(derive_ids(list(files)), derive_names(list(files)), files.values(), strict=True)
    return [
        _create_scanned_sample(sample_id, showable(name), video, file.refusal)
        for (sample_id, video), name, file in named
    ], problems


def _create_scanned_sample(sample_id: str, name: str, video: str, refusal: str) -> Sample:
    video = showable(video)
    return replace(_create_sample(sample_id, name, video, (), {}, video), refusal=refusal)
