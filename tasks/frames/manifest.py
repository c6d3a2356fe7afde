"""From a question set, a table or a folder to samples, and from samples to items: one a video."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import Item, distinct_ids
from tasks.engine.contract.manifest import (
    InputFolder,
    Row,
    Table,
    cap_problems,
    carried,
    missing_columns,
    read_ids,
    read_table,
    shorten,
)
from tasks.engine.contract.text import showable
from tasks.media.folder import ids_of, names_of
from tasks.media.scan import scan_videos

REQUIRED = ("id", "video_path")
KNOWN = frozenset({*REQUIRED, "support_frames"})
# What the dataset's rows say themselves; a manifest column of that name would be lost or would lie.
RESERVED = frozenset(
    {"video", "frames", "bad_frames", "support_seconds", "outside_seconds", "repeated_seconds", "dropped_seconds"}
)
_SECONDS = "a list of seconds, such as [1.5, 4.0]"
_SECONDS_TEXT = "seconds as [1.5, 4.0], or 1.5;4.0, or 1.5 4.0"


@dataclass(frozen=True)
class Sample:
    """One sample of the dataset to be.

    id               unique, safe as a file name
    video            path relative to the folder of videos, forward slashes
    support_seconds  times from the first shown frame that the sample asks for, as given: unsorted, perhaps outside
    fields           all other columns, as JSON values; carried through to the dataset
    where            how a user finds its row, for messages
    name             its id as the manifest has it, any text; empty if that is ``id``
    refusal          why its video cannot be used, if a scan of the folder says so
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
        """The sample's id as the manifest has it."""
        return self.name or self.id


def read_samples(
    manifest: Path | None, videos_dir: Path, notes: list[str] | None = None
) -> tuple[list[Sample], list[Problem]]:
    """The samples of ``manifest``, or one for each video under ``videos_dir`` where there is none.

    Samples are in the manifest's order. Where there are problems, the samples lack the rows that have them. ``notes``
    gets a line about files of the folder that are not read.
    """
    folder = InputFolder(videos_dir, "--videos-dir")
    wrong = folder.problems()
    if manifest is None:
        samples, problems = ([], []) if wrong else _scan(folder, [] if notes is None else notes)
        return samples, [*wrong, *cap_problems(problems)]
    table = read_table(manifest)
    samples, problems = _samples(table, manifest.name, folder, check_paths=not wrong)
    return samples, [*wrong, *cap_problems([*table.problems, *problems])]


def video_items(samples: Iterable[Sample], videos_dir: Path) -> list[Item]:
    """One item a video, in the order in which the manifest first names them, with the samples that share it.

    The cost is the file's size in MiB: it grows with duration and pixels, and costs one ``stat`` instead of a probe.
    """
    by_video: dict[str, list[Sample]] = {}
    for sample in samples:
        by_video.setdefault(sample.video, []).append(sample)
    root = videos_dir.absolute()
    ids = distinct_ids(list(by_video))
    return [
        _video_item(item_id, video, together, root / video)
        for item_id, (video, together) in zip(ids, by_video.items(), strict=True)
    ]


def _video_item(item_id: str, video: str, samples: Sequence[Sample], path: Path) -> Item:
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


def _samples(table: Table, manifest: str, folder: InputFolder, check_paths: bool) -> tuple[list[Sample], list[Problem]]:
    if not table.rows:
        return [], []
    problems = [*missing_columns(table, REQUIRED, manifest), *_reserved(table, manifest)]
    names, wrong = read_ids(table.rows)
    problems += wrong
    ids = _ids_by_name(names)
    samples: list[Sample] = []
    for row, name in zip(table.rows, names, strict=True):
        sample, wrong = _sample(row, name, ids, folder, check_paths)
        problems += wrong
        samples += [sample] if sample else []
    return samples, problems


def _reserved(table: Table, name: str) -> list[Problem]:
    allowed = f"names other than {', '.join(sorted(RESERVED))}"
    advice = "rename it: the dataset writes a column of that name itself"
    return [Problem(name, f"the column {column!r}", allowed, advice) for column in table.columns if column in RESERVED]


def _ids_by_name(names: Iterable[str | None]) -> dict[str, str]:
    given = [name for name in names if name is not None]
    return dict(zip(given, distinct_ids(given), strict=True))


def _sample(
    row: Row, name: str | None, ids: Mapping[str, str], folder: InputFolder, check: bool
) -> tuple[Sample | None, list[Problem]]:
    fields, problems = carried(row, KNOWN)
    seconds = _support_seconds(row)
    video = _video(row, folder) if check else ""
    problems += [found for found in (seconds, video) if isinstance(found, Problem)]
    if name is None or isinstance(seconds, Problem) or not isinstance(video, str):
        return None, problems
    return _named_sample(ids[name], name, video, seconds, fields, row.where), problems


def _named_sample(sample_id: str, name: str, *rest: Any) -> Sample:
    return replace(Sample(sample_id, *rest), name="" if name == sample_id else name)


def _video(row: Row, folder: InputFolder) -> str | Problem | None:
    given = row.values.get("video_path")
    return None if given in (None, "") else folder.relative(given, f"{row.where}, video_path")


def _support_seconds(row: Row) -> tuple[float, ...] | Problem:
    """The row's timestamps; a missing or empty cell is none. In CSV the cell is text."""
    given = row.values.get("support_frames")
    if given is None:
        return ()
    found = _numbers(given) if row.typed else _numbers_in_text(given)
    if found is None:
        allowed = _SECONDS if row.typed else _SECONDS_TEXT
        return row.problem("support_frames", shorten(given), allowed, "correct it, or leave it empty")
    return found


def _numbers(given: object) -> tuple[float, ...] | None:
    """``given`` as finite floats, or None where it is anything but a list of finite numbers."""
    if not isinstance(given, list):
        return None
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        return None
    try:
        numbers = tuple(float(value) for value in given)
    except OverflowError:
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _numbers_in_text(text: str) -> tuple[float, ...] | None:
    try:
        if text.lstrip().startswith("["):
            return _numbers(json.loads(text))
        return _numbers([float(part) for part in re.split(r"[;\s]+", text.strip()) if part])
    except (ValueError, RecursionError):
        return None


def _scan(folder: InputFolder, notes: list[str]) -> tuple[list[Sample], list[Problem]]:
    """Return a sample for each video in the folder and the folders in it."""
    files, problems = scan_videos(folder, notes)
    named = zip(ids_of(list(files)), names_of(list(files)), files.values(), strict=True)
    return [
        _scanned(sample_id, showable(name), video, file.refusal) for (sample_id, video), name, file in named
    ], problems


def _scanned(sample_id: str, name: str, video: str, refusal: str) -> Sample:
    video = showable(video)
    return replace(_named_sample(sample_id, name, video, (), {}, video), refusal=refusal)
