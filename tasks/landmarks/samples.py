"""From a folder or a manifest to samples, and from samples to items: one a sample."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import Item
from tasks.engine.contract.manifest import InputFolder, cap_problems, shorten
from tasks.engine.contract.text import showable
from tasks.landmarks.layouts import phoenix, table
from tasks.landmarks.layouts.collection import FRAMES_FPS, NO_SPLIT, Collection, Sample, split_called, with_file_names
from tasks.landmarks.layouts.folders import folder_samples, splits_of, twice, unlistable, video_samples
from tasks.landmarks.layouts.phoenix import Found
from tasks.media.kinds import PICTURES_AND_VIDEOS, VIDEO_SUFFIXES, suffix_of
from tasks.media.scan import Folder, Tree, files_below, scan_folder

__all__ = ["Collection", "Layout", "Sample", "read_collection", "sample_items"]

Layout = Literal["auto", "phoenix", "folders", "videos"]

_INPUT = "--input"
_MAX_SHOWN = 80  # characters of a name in a message


def read_collection(
    input: Path, layout: Layout = "auto", split: str = "all", fps: float | None = None
) -> tuple[Collection | None, list[Problem]]:
    """The samples of the folder or manifest ``input`` that are in ``split``, and everything that is wrong.

    ``fps`` is the frame rate of folders of pictures, 25 where nothing is given; videos have their own. Where there are
    problems, there is no collection.
    """
    problems = _fps_problems(fps)
    rate = FRAMES_FPS if fps is None else float(fps)
    collection: Collection | None
    if input.is_dir():
        collection, wrong = _of_folder(input, layout, split, rate)
    else:
        collection, wrong = _of_manifest(input, layout, rate)
    problems += wrong
    if not problems and collection is not None:
        collection = replace(collection, samples=with_file_names(collection.samples))
        collection, problems = _chosen(collection, split, fps)
    return (None, cap_problems(problems)) if problems else (collection, [])


def sample_items(collection: Collection) -> list[Item]:
    """One item a sample, in the collection's order. Its input is the folder of pictures or the video."""
    return [_item(sample, collection.root) for sample in collection.samples]


def _item(sample: Sample, root: Path) -> Item:
    if sample.refusal:
        fields = {**sample.fields, "split": sample.split, "name": sample.shown_name}
        name = PurePosixPath(sample.path).name
        return Item(
            sample.id, {"path": sample.path}, fields=fields, name=name, path=sample.path, refusal=sample.refusal
        )
    payload = {"split": sample.split, "name": sample.name, "media": sample.media, "fps": sample.fps}
    return Item(
        id=sample.id,
        payload=payload | ({"title": sample.title} if sample.title else {}),
        inputs=(str(root / sample.path),),
        cost=sample.cost,
        fields={**sample.fields, "split": sample.split, "name": sample.shown_name},
        name=sample.shown_name,
        path=sample.path,
    )


def _fps_problems(fps: float | None) -> list[Problem]:
    if fps is None or (math.isfinite(fps) and 0 < fps <= table.MAX_FPS):
        return []
    return [Problem("--fps", shorten(fps), f"a number above 0 and up to {table.MAX_FPS:g}", "25 is usual")]


def _of_manifest(path: Path, layout: Layout, fps: float) -> tuple[Collection | None, list[Problem]]:
    if not path.exists() or suffix_of(path.name) in VIDEO_SUFFIXES:
        given = "is a video" if path.exists() else "does not exist"
        allowed = "a folder, or a manifest in CSV, TSV, JSON, JSON Lines or Parquet"
        return None, [Problem(f"{_INPUT} {path}", given, allowed, "give the folder that holds the samples")]
    samples, problems = table.read_samples(path, fps)
    if layout != "auto":
        advice = "leave --layout out: the manifest says what there is"
        problems.append(Problem("--layout", f"{layout} with the manifest {path.name}", "auto", advice))
    return Collection(path.absolute().parent, tuple(samples), "manifest"), problems


def _of_folder(path: Path, layout: Layout, split: str, fps: float) -> tuple[Collection | None, list[Problem]]:
    scanned = scan_folder(InputFolder(path, _INPUT), PICTURES_AND_VIDEOS, follows_links=True)
    tree, problems = scanned.root, list(scanned.problems)
    if tree.reason:
        return None, problems
    chosen = _layout(tree, path) if layout == "auto" else layout
    if isinstance(chosen, Problem):
        return None, problems or [chosen]  # where something may not be read, that is why nothing is there
    found = _of_phoenix(tree, path, split, fps) if chosen == "phoenix" else _of_splits(tree, path, chosen, fps)
    known = {".csv"} if chosen == "phoenix" else ()  # its tables
    notes = (*scanned.notes(known), *found.notes, *_unused(scanned, found, chosen, path))
    return Collection(path.absolute(), found.samples, chosen, notes), [*problems, *found.problems]


def _unused(scanned: Tree, found: Found, layout: Layout, path: Path) -> list[str]:
    """Return a line that counts the images and videos that belong to no sample."""
    if layout == "phoenix":  # its notes say what its tables do not name
        return []
    used = {sample.path for sample in found.samples}
    images = [
        folder.pictures for folder in scanned.root.below() if folder.pictures and showable(folder.path) not in used
    ]
    videos = sum(showable(path) not in used for path, file in files_below(scanned.root))
    clauses = [f"{sum(images)} images in {len(images)} folder{'' if len(images) == 1 else 's'}"] if images else []
    clauses += [f"{videos} video{'' if videos == 1 else 's'}"] if videos else []
    where = showable(f"{_INPUT} {path}")
    return [f"{where}: not read, because of no sample of the layout {layout}: {', '.join(clauses)}"] if clauses else []


def _layout(tree: Folder, root: Path) -> Layout | Problem:
    """What the folder looks like: PHOENIX, else folders of pictures or videos, whichever there are."""
    if phoenix.frame_folders(tree) or phoenix.has_tables(tree, root):
        return "phoenix"
    folders = [folder for split in splits_of(tree) for folder in split.folder.below()]
    pictures = sum(folder.pictures for folder in folders)
    files = [file for folder in folders for file in folder.files]
    animated = sum(suffix_of(file.name) == ".gif" for file in files)
    videos = len(files) - (animated if pictures else 0)  # beside images, a GIF is a preview of them
    if pictures and videos:
        given = f"{pictures} pictures and {videos} videos"
        return Problem(
            f"{_INPUT} {root}", given, "one of the two", "say which with --layout folders or --layout videos"
        )
    if pictures or videos:
        return "folders" if pictures else "videos"
    return Problem(f"{_INPUT} {root}", "neither pictures nor videos", _what_is_read(), f"check {_INPUT}")


def _what_is_read() -> str:
    pictures = "folders of .png, .jpg, .jpeg, .bmp or .webp"
    return f"{pictures}, videos, or a release of PHOENIX-Weather 2014 (--layout {', '.join(get_args(Layout))})"


def _of_splits(tree: Folder, root: Path, layout: Layout, fps: float) -> Found:
    splits, where = splits_of(tree), f"{_INPUT} {root}"
    problems = [*twice(splits, where), *unlistable(splits, where)]
    samples = [
        found
        for split in splits
        for found in (video_samples(split) if layout == "videos" else folder_samples(split, fps))
    ]
    return Found(tuple(samples), tuple(problems))


def _of_phoenix(tree: Folder, root: Path, split: str, fps: float) -> Found:
    where = f"{_INPUT} {root}"
    frames = phoenix.frame_folders(tree) or [tree]
    if len(frames) > 1:
        given = f"{len(frames)} folders of pictures: {', '.join(folder.path for folder in frames)}"
        return Found(problems=(Problem(where, given, "one of them", f"give one of them as {_INPUT}"),))
    splits = splits_of(frames[0])
    if [found.name for found in splits] == [NO_SPLIT]:
        allowed = "features/fullFrame-210x260px/{train,dev,test}/<sample>/*.png"
        return Found(problems=(Problem(where, "no splits of PHOENIX", allowed, f"check {_INPUT}, or --layout"),))
    wanted = [found for found in splits if split in {"all", found.name} or split_called(split) == found.name] or splits
    parts = [phoenix.split_samples(part, frames[0], root.absolute(), fps) for part in wanted]
    return Found(
        tuple(sample for part in parts for sample in part.samples),
        (*twice(splits, where), *unlistable(splits, where), *(wrong for part in parts for wrong in part.problems)),
        tuple(note for part in parts for note in part.notes),
    )


def _chosen(collection: Collection | None, split: str, fps: float | None) -> tuple[Collection | None, list[Problem]]:
    """The collection with the samples of ``split`` alone, and what is wrong with that choice or with the samples."""
    assert collection is not None
    wanted = split_called(split) or split
    splits = list(dict.fromkeys(sample.split for sample in collection.samples))
    samples = tuple(sample for sample in collection.samples if wanted in {"all", sample.split})
    problems = _same_names(samples)
    if not collection.samples:
        advice = f"check {_INPUT}, or --layout"
        problems.append(Problem(f"{_INPUT} {collection.root}", "no samples", _what_is_read(), advice))
    elif not samples:
        allowed = ", ".join(["all", *(name for name in splits if name != NO_SPLIT)])
        problems.append(Problem("--split", shorten(split), allowed, "these are the splits that there are"))
    if fps is not None and samples and all(sample.media == "video" for sample in samples):
        problems.append(
            Problem("--fps", f"{fps:g} with videos", "nothing with videos", "leave it out: they have their own")
        )
    return Collection(collection.root, samples, collection.layout, collection.notes), problems


def _same_names(samples: Sequence[Sample]) -> list[Problem]:
    first: dict[tuple[str, str], Sample] = {}
    problems = []
    for sample in samples:
        other = first.setdefault((sample.split, sample.shown_name), sample)
        if other is not sample:
            named = f"{sample.shown_name[:_MAX_SHOWN]} in {sample.split}"
            given = f"{named} for both {shorten(other.path)} and {shorten(sample.path)}"
            problems.append(Problem("names of samples", given, "each name once in its split", "rename one of the two"))
    return [*problems, *_same_folders(sample.split for sample in samples)]


def _same_folders(splits: Iterable[str]) -> list[Problem]:
    """A problem for splits whose folders some file systems take for one."""
    first: dict[str, str] = {}
    others = [(first.setdefault(split.lower(), split), split) for split in dict.fromkeys(splits)]
    return [
        Problem("names of splits", f"{one} and {other}, which differ in case alone", "distinct names", "rename one")
        for one, other in others
        if one != other
    ]
