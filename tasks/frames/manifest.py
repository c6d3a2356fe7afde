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
from tasks.frames.params import Labels
from tasks.media.folder import derive_ids, derive_names
from tasks.media.scan import scan_videos

LABEL = "label"  # column of --labels
_VIDEO = "video_path"
REQUIRED = ("id", _VIDEO)
READ_COLUMNS = frozenset({*REQUIRED, "support_frames"})
MEDIA_COLUMNS = ("clip_file", "audio_file")
# Columns that the dataset writes; a manifest column with such a name would be lost or misleading.
RESERVED = frozenset({
    "video", "frames", "bad_frames", "support_seconds", "outside_seconds", "repeated_seconds", "dropped_seconds",
    "left_out_frames", "offset_seconds", "shot_seconds", "clip_file", "audio_file",
})  # fmt: skip
# Limits of a sample within its video, in seconds; also copied to the dataset.
START, END = "start", "end"
_SECONDS = "a list of seconds, such as [1.5, 4.0]"
_SECONDS_TEXT = "seconds as [1.5, 4.0], or 1.5;4.0, or 1.5 4.0"


@dataclass(frozen=True)
class Sample:
    """One sample of the planned dataset.

    id               unique, safe as a file name
    video            path relative to the videos folder, forward slashes
    support_seconds  requested times as given: unsorted, possibly outside the video
    start, end       limits of the sample within its video in seconds; None for no limit
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
    start: float | None = None
    end: float | None = None

    @property
    def title(self) -> str:
        """Return the sample's id as written in the manifest."""
        return self.name or self.id


def read_samples(
    manifest: Path | None, videos_dir: Path, notes: list[str] | None = None
) -> tuple[list[Sample], list[Problem]]:
    """Return the samples of ``manifest``, or one sample per video under ``videos_dir`` if there is no manifest.

    Samples are in the manifest's order; rows with problems are left out. ``notes`` gets lines about files that are not
    read, and about another folder than ``videos_dir`` that the paths are relative to.
    """
    notes = [] if notes is None else notes
    folder = InputFolder(videos_dir, "--videos-dir")
    folder_problems = folder.problems()
    if manifest is None:
        samples, problems = ([], []) if folder_problems else _scan(folder, notes)
        return samples, [*folder_problems, *cap_problems(problems)]
    table = read_table(manifest)
    if not folder_problems and (note := folder.accept_repeated_names(row.values.get(_VIDEO) for row in table.rows)):
        notes.append(note)
    samples, problems = _parse_samples(table, manifest.name, folder, check_paths=not folder_problems)
    return samples, [*folder_problems, *cap_problems([*table.problems, *folder.summarize_missing(problems)])]


def add_labels(samples: Sequence[Sample], labels: Labels) -> tuple[list[Sample], list[Problem]]:
    """Return the samples with a column ``label``, the name of the folder of each video, if ``labels`` is "folder"."""
    if labels == "none":
        return list(samples), []
    if any(LABEL in sample.fields for sample in samples):
        given = f"given, while the manifest has a column {LABEL!r}"
        return list(samples), [Problem("--labels", given, "one of the two", "remove --labels, or rename the column")]
    labeled = [replace(sample, fields={**sample.fields, LABEL: _get_label(sample)}) for sample in samples]
    return labeled, cap_problems(_describe_missing_label(sample) for sample in labeled if not sample.fields[LABEL])


def _get_label(sample: Sample) -> str:
    return PurePosixPath(sample.video).parent.name


def _describe_missing_label(sample: Sample) -> Problem:
    given = f"{shorten(sample.video)} is in no folder that is a label"
    return Problem(sample.where or sample.title, given, "LABEL/VIDEO", "move it to a folder, or remove --labels")


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
    wanted = [_describe_request(sample) for sample in samples]
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


def _describe_request(sample: Sample) -> dict[str, Any]:
    limits = {START: sample.start, END: sample.end}
    set_limits = {name: value for name, value in limits.items() if value is not None}
    return {"id": sample.id, "support_seconds": list(sample.support_seconds), **set_limits}


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
    start, end = (_parse_limit(row, column) for column in (START, END))
    problems += [value for value in (seconds, video, start, end) if isinstance(value, Problem)]
    if name is None or isinstance(seconds, Problem) or not isinstance(video, str):
        return None, problems
    if isinstance(start, Problem) or isinstance(end, Problem):
        return None, problems
    sample = _create_sample(ids[name], name, video, seconds, fields, row.where)
    return replace(sample, start=start, end=end), problems


def _parse_limit(row: Row, column: str) -> float | Problem | None:
    """Return the seconds in ``column``, None for a missing or empty cell."""
    given = row.values.get(column)
    if given in (None, ""):
        return None
    numbers = _parse_numbers([given]) if row.typed else _parse_number_text(str(given))
    if numbers is None or len(numbers) != 1 or numbers[0] < 0:
        allowed = "seconds from 0 that limit the sample, or nothing"
        return row.problem(column, shorten(given), allowed, "correct it, or rename the column")
    return numbers[0]


def limit_samples(
    samples: Sequence[Sample], start: float | None, end: float | None
) -> tuple[list[Sample], list[Problem]]:
    """Return the samples with ``start`` and ``end`` where the manifest has no limit, and those that end too early."""
    limited = [_limit_sample(sample, start, end) for sample in samples]
    early = [sample for sample in limited if sample.end is not None and sample.end <= (sample.start or 0)]
    if start is not None and end is not None and end <= start:
        return limited, [Problem("--end", f"{end:g}, with --start {start:g}", "a time after --start", "correct one")]
    return limited, cap_problems(map(_describe_early_end, early))


def _limit_sample(sample: Sample, start: float | None, end: float | None) -> Sample:
    start, end = (start if sample.start is None else sample.start), (end if sample.end is None else sample.end)
    if (start, end) == (sample.start, sample.end):
        return sample
    limits = {START: start, END: end}
    fields = {**sample.fields, **{name: value for name, value in limits.items() if value is not None}}
    return replace(sample, start=start, end=end, fields=fields)


def _describe_early_end(sample: Sample) -> Problem:
    given = f"{sample.end:g}, with the start {sample.start or 0:g}"
    return Problem(f"{sample.where or sample.title}, {END}", given, "a time after the start", "correct one of the two")


def _create_sample(sample_id: str, name: str, *rest: Any) -> Sample:
    return replace(Sample(sample_id, *rest), name="" if name == sample_id else name)


def _parse_video_path(row: Row, folder: InputFolder) -> str | Problem | None:
    given = row.values.get(_VIDEO)
    return None if given in (None, "") else folder.relative(given, f"{row.where}, {_VIDEO}")


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
