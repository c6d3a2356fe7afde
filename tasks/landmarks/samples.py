"""Read the samples of a folder or a manifest, and plan one item per sample."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import Item
from tasks.engine.contract.manifest import InputFolder, cap_problems, shorten
from tasks.engine.contract.text import showable
from tasks.landmarks.layouts import phoenix, table
from tasks.landmarks.layouts.collection import (
    FRAMES_FPS,
    NO_SPLIT,
    Collection,
    Sample,
    assign_file_names,
    normalize_split,
)
from tasks.landmarks.layouts.folders import (
    find_duplicate_splits,
    find_nested_splits,
    find_splits,
    find_unlistable,
    list_folder_samples,
    list_video_samples,
)
from tasks.landmarks.layouts.phoenix import ReadResult
from tasks.media.kinds import IMAGES_AND_VIDEOS, VIDEO_SUFFIXES, get_suffix
from tasks.media.scan import Folder, Tree, list_files, scan_folder

__all__ = ["Collection", "Layout", "Sample", "plan_samples", "read_collection"]

Layout = Literal["auto", "phoenix", "folders", "videos"]

_INPUT = "--input"
_MAX_SHOWN = 80  # characters of a name in a message


def read_collection(
    input: Path, layout: Layout = "auto", split: str = "all", fps: float | None = None
) -> tuple[Collection | None, list[Problem]]:
    """Return the samples of ``input`` (a folder or a manifest) in ``split``, and all problems.

    ``fps`` is the frame rate of image folders (default 25); videos have their own. If there are problems, the
    collection is None.
    """
    problems = _check_fps(fps)
    rate = FRAMES_FPS if fps is None else float(fps)
    collection: Collection | None
    if input.is_dir():
        collection, input_problems = _read_folder(input, layout, split, rate)
    else:
        collection, input_problems = _read_manifest(input, layout, rate)
    problems += input_problems
    if not problems and collection is not None:
        collection = replace(collection, samples=assign_file_names(collection.samples))
        collection, problems = _select_split(collection, split, fps)
    return (None, cap_problems(problems)) if problems else (collection, [])


def plan_samples(collection: Collection) -> list[Item]:
    """Return one item per sample, in the collection's order. Its input is the image folder or the video."""
    return [_create_item(sample, collection.root) for sample in collection.samples]


def _create_item(sample: Sample, root: Path) -> Item:
    if sample.refusal:
        fields = {**sample.fields, "split": sample.split, "name": sample.shown_name}
        name = PurePosixPath(sample.path).name
        return Item(
            sample.id, {"path": sample.path}, fields=fields, name=name, path=sample.path, refusal=sample.refusal
        )
    payload = {"split": sample.split, "name": sample.name, "media": sample.media, "fps": sample.fps}
    optional = {"title": sample.title or None, "start": sample.start, "end": sample.end}
    return Item(
        id=sample.id,
        payload=payload | {name: value for name, value in optional.items() if value is not None},
        inputs=(str(root / sample.path),),
        cost=sample.cost,
        fields={**sample.fields, "split": sample.split, "name": sample.shown_name},
        name=sample.shown_name,
        path=sample.path,
    )


def _check_fps(fps: float | None) -> list[Problem]:
    if fps is None or (math.isfinite(fps) and 0 < fps <= table.MAX_FPS):
        return []
    return [Problem("--fps", shorten(fps), f"a number above 0 and up to {table.MAX_FPS:g}", "25 is usual")]


def _read_manifest(path: Path, layout: Layout, fps: float) -> tuple[Collection | None, list[Problem]]:
    if not path.exists() or get_suffix(path.name) in VIDEO_SUFFIXES:
        given = "is a video" if path.exists() else "does not exist"
        allowed = "a folder, or a manifest in CSV, TSV, JSON, JSON Lines or Parquet"
        return None, [Problem(f"{_INPUT} {path}", given, allowed, "use the folder that contains the samples")]
    samples, problems = table.read_samples(path, fps)
    if layout != "auto":
        advice = "remove --layout: the manifest lists the samples"
        problems.append(Problem("--layout", f"{layout} with the manifest {path.name}", "auto", advice))
    return Collection(path.absolute().parent, tuple(samples), "manifest", _describe_repeats(samples)), problems


def _describe_repeats(samples: Iterable[Sample]) -> tuple[str, ...]:
    """Return a line if several rows name the same whole video."""
    rows = Counter(sample.path for sample in samples if sample.media == "video" and sample.start is sample.end is None)
    repeated = [path for path, count in rows.items() if count > 1]
    if not repeated:
        return ()
    advice = "each row gets all of its frames; the columns start and end choose a part"
    more = f" and {len(repeated) - 1} more" if len(repeated) > 1 else ""
    return (f"{_INPUT}: {rows[repeated[0]]} rows name the video {shorten(repeated[0])}{more}: {advice}",)


def _read_folder(path: Path, layout: Layout, split: str, fps: float) -> tuple[Collection | None, list[Problem]]:
    scanned = scan_folder(InputFolder(path, _INPUT), IMAGES_AND_VIDEOS, follows_links=True)
    tree, problems = scanned.root, list(scanned.problems)
    if tree.reason:
        return None, problems
    chosen = _detect_layout(tree, path) if layout == "auto" else layout
    if isinstance(chosen, Problem):
        return None, problems or [chosen]  # unreadable folders explain the missing files
    result = _read_phoenix(tree, path, split, fps) if chosen == "phoenix" else _read_splits(tree, path, chosen, fps)
    table_suffixes = {".csv"} if chosen == "phoenix" else ()  # the corpus tables
    notes = (*scanned.make_notes(table_suffixes), *result.notes, *_describe_unused(scanned, result, chosen, path))
    return Collection(path.absolute(), result.samples, chosen, notes), [*problems, *result.problems]


def _describe_unused(scanned: Tree, result: ReadResult, layout: Layout, path: Path) -> list[str]:
    """Return a line that counts the images and videos that belong to no sample."""
    if layout == "phoenix":  # its notes list the folders that are not in its tables
        return []
    used = {sample.path for sample in result.samples}
    images = [
        folder.image_count for folder in scanned.root.walk() if folder.image_count and showable(folder.path) not in used
    ]
    videos = sum(showable(path) not in used for path, file in list_files(scanned.root))
    clauses = [f"{sum(images)} images in {len(images)} folder{'' if len(images) == 1 else 's'}"] if images else []
    clauses += [f"{videos} video{'' if videos == 1 else 's'}"] if videos else []
    where = showable(f"{_INPUT} {path}")
    return [f"{where}: not part of any sample of the layout {layout}: {', '.join(clauses)}"] if clauses else []


def _detect_layout(tree: Folder, root: Path) -> Layout | Problem:
    """Return the layout of the folder: PHOENIX, otherwise folders of images or videos, whichever it contains."""
    if phoenix.find_frame_folders(tree) or phoenix.has_tables(tree, root):
        return "phoenix"
    folders = [folder for split in find_splits(tree) for folder in split.folder.walk()]
    images = sum(folder.image_count for folder in folders)
    files = [file for folder in folders for file in folder.files]
    animated = sum(get_suffix(file.name) == ".gif" for file in files)
    videos = len(files) - (animated if images else 0)  # a GIF next to images is a preview
    if images and videos:
        given = f"{images} images and {videos} videos"
        return Problem(f"{_INPUT} {root}", given, "one of the two", "choose with --layout folders or --layout videos")
    if images or videos:
        return "folders" if images else "videos"
    return Problem(f"{_INPUT} {root}", "neither images nor videos", _describe_inputs(), f"check {_INPUT}")


def _describe_inputs() -> str:
    images = "folders of .png, .jpg, .jpeg, .bmp or .webp"
    return f"{images}, videos, or a release of PHOENIX-Weather 2014 (--layout {', '.join(get_args(Layout))})"


def _read_splits(tree: Folder, root: Path, layout: Layout, fps: float) -> ReadResult:
    splits, where = find_splits(tree), f"{_INPUT} {root}"
    problems = [*find_duplicate_splits(splits, where), *find_unlistable(splits, where)]
    problems += find_nested_splits(tree, where)
    samples = [
        sample
        for split in splits
        for sample in (list_video_samples(split) if layout == "videos" else list_folder_samples(split, fps))
    ]
    return ReadResult(tuple(samples), tuple(problems))


def _read_phoenix(tree: Folder, root: Path, split: str, fps: float) -> ReadResult:
    where = f"{_INPUT} {root}"
    frames = phoenix.find_frame_folders(tree) or [tree]
    if len(frames) > 1:
        given = f"{len(frames)} folders of images: {', '.join(folder.path for folder in frames)}"
        return ReadResult(problems=(Problem(where, given, "one of them", f"use one of them as {_INPUT}"),))
    splits = find_splits(frames[0])
    if [part.name for part in splits] == [NO_SPLIT]:
        allowed = "features/fullFrame-210x260px/{train,dev,test}/<sample>/*.png"
        return ReadResult(problems=(Problem(where, "no splits of PHOENIX", allowed, f"check {_INPUT}, or --layout"),))
    selected = [part for part in splits if split in {"all", part.name} or normalize_split(split) == part.name] or splits
    parts = [phoenix.read_split(part, frames[0], root.absolute(), fps) for part in selected]
    return ReadResult(
        tuple(sample for part in parts for sample in part.samples),
        (
            *find_duplicate_splits(splits, where),
            *find_unlistable(splits, where),
            *(problem for part in parts for problem in part.problems),
        ),
        tuple(note for part in parts for note in part.notes),
    )


def _select_split(
    collection: Collection | None, split: str, fps: float | None
) -> tuple[Collection | None, list[Problem]]:
    """Return the collection with the samples of ``split``, and problems with that split or the samples."""
    assert collection is not None
    selected_split = normalize_split(split) or split
    splits = list(dict.fromkeys(sample.split for sample in collection.samples))
    samples = tuple(sample for sample in collection.samples if selected_split in {"all", sample.split})
    problems = _find_duplicate_names(samples)
    if not collection.samples:
        advice = f"check {_INPUT}, or --layout"
        problems.append(Problem(f"{_INPUT} {collection.root}", "no samples", _describe_inputs(), advice))
    elif not samples:
        allowed = ", ".join(["all", *(name for name in splits if name != NO_SPLIT)])
        problems.append(Problem("--split", shorten(split), allowed, "choose one of these splits"))
    if fps is not None and samples and all(sample.media == "video" for sample in samples):
        problems.append(
            Problem(
                "--fps", f"{fps:g} with videos", "no --fps with videos", "remove it: videos have their own frame rate"
            )
        )
    return Collection(collection.root, samples, collection.layout, collection.notes), problems


def _find_duplicate_names(samples: Sequence[Sample]) -> list[Problem]:
    first: dict[tuple[str, str], Sample] = {}
    problems = []
    for sample in samples:
        other = first.setdefault((sample.split, sample.shown_name), sample)
        if other is not sample:
            label = f"{sample.shown_name[:_MAX_SHOWN]} in {sample.split}"
            given = f"{label} for both {shorten(other.path)} and {shorten(sample.path)}"
            problems.append(Problem("names of samples", given, "each name once in its split", "rename one of them"))
    return [*problems, *_find_case_conflicts(sample.split for sample in samples)]


def _find_case_conflicts(splits: Iterable[str]) -> list[Problem]:
    """Return a problem for split names that differ only in case: some file systems would merge their folders."""
    by_folded_name: dict[str, str] = {}
    others = [(by_folded_name.setdefault(split.lower(), split), split) for split in dict.fromkeys(splits)]
    return [
        Problem("names of splits", f"{first} and {second}, which differ only in case", "distinct names", "rename one")
        for first, second in others
        if first != second
    ]
