"""The layouts ``folders`` (an image folder per sample) and ``videos`` (a video per sample), with or without splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.text import showable
from tasks.landmarks.layouts.collection import NO_SPLIT, Media, Sample, normalize_split
from tasks.media.scan import File, Folder, explain_refused_name, list_files

# Assumed bytes per frame, to compare the cost of videos with that of image folders. Videos of people have between 2 and
# 10 kB per frame at 25 fps and the usual sizes.
BYTES_PER_FRAME = 5_000
# PHOENIX-2014 stores the images of <sample> in <sample>/1.
_INNER = "1"


@dataclass(frozen=True)
class Split:
    """The folder of a split; its name is not part of the sample names."""

    name: str
    folder: Folder


def find_splits(tree: Folder) -> list[Split]:
    """Return the splits in ``tree``: its subfolders with the name of a split and without images of their own.

    If there are none, the tree is one split. If there are some, everything else in the tree is skipped.
    """
    named = [(normalize_split(folder.name), folder) for folder in tree.folders if not folder.image_count]
    splits = [Split(name, folder) for name, folder in named if name is not None]
    return splits or [Split(NO_SPLIT, tree)]


def find_duplicate_splits(splits: Iterable[Split], where: str) -> list[Problem]:
    """Return a problem for each split with two folders, such as ``val`` and ``dev``."""
    folders: dict[str, list[str]] = {}
    for split in splits:
        folders.setdefault(split.name, []).append(split.folder.name)
    return [
        Problem(
            where, f"the folders {' and '.join(names)}, both the split {split}", "one folder per split", "rename one"
        )
        for split, names in folders.items()
        if len(names) > 1
    ]


def find_nested_splits(tree: Folder, where: str) -> list[Problem]:
    """Return a problem if ``tree`` has no splits but one of its folders has several, such as ``train`` and ``test``."""
    if [split.name for split in find_splits(tree)] != [NO_SPLIT]:
        return []
    for folder in tree.folders:
        names = [split.folder.name for split in find_splits(folder) if split.name != NO_SPLIT]
        if len(names) > 1:
            given = f"the splits {', '.join(names)} are in its folder {showable(folder.name)}"
            advice = f"use {showable(folder.name)} as --input"
            return [Problem(where, given, "the folder that directly contains the splits", advice)]
    return []


def find_unlistable(splits: Iterable[Split], where: str) -> list[Problem]:
    """Return a problem for each split whose folder cannot be listed."""
    return [
        Problem(f"{where}, {split.folder.path}", split.folder.reason, "a folder that can be read", "check it")
        for split in splits
        if split.folder.reason
    ]


def create_sample(split: str, name: str, path: str, cost: float, fps: float | None, refusal: str = "") -> Sample:
    """Return a sample without annotation: an image folder if ``fps`` is given, a video if it is None.

    ``name`` may be any text: :func:`assign_file_names` creates names and ids that are safe as file names. ``refusal``
    is the reason why it cannot be used; a path that no table can store is refused in any case.
    """
    media: Media = "video" if fps is None else "frames"
    refusal = refusal or explain_refused_name(path)
    return Sample("", split, name, showable(path), media, fps, cost=float(cost), refusal=refusal)


def _add_class(sample: Sample, split: Split, path: str) -> Sample:
    """Return ``sample`` with the column ``class``: the folder in its split that contains ``path``, if there is one."""
    parent = str(PurePosixPath(_get_relative_path(path, split)).parent)
    return sample if parent == "." else replace(sample, fields={"class": showable(parent)})


def list_folder_samples(split: Split, fps: float) -> list[Sample]:
    """Return a sample for each image folder in the split, at any depth, and for each empty folder.

    If the split's own folder contains images, it is the only sample and has the folder's name.
    """
    if split.folder.image_count:
        return [create_sample(split.name, split.folder.name, split.folder.path, split.folder.image_count, fps)]
    return [
        _add_class(
            create_sample(split.name, _get_relative_folder(named, split), images.path, max(images.image_count, 1), fps),
            split,
            named.path,
        )
        for folder in split.folder.folders
        for named, images in iterate_image_folders(folder)
    ]


def iterate_image_folders(folder: Folder) -> Iterator[tuple[Folder, Folder]]:
    """Yield (named folder, image folder) for each sample in ``folder``.

    Everything inside an image folder belongs to it. An empty folder is a sample that will fail.
    """
    inner = find_image_folder(folder)
    if inner is not None:
        yield folder, inner
        return
    for child in folder.folders:
        yield from iterate_image_folders(child)


def find_image_folder(folder: Folder) -> Folder | None:
    """Return the folder with a sample's images: itself or its only subfolder ``1``; None if it is not a sample."""
    if folder.image_count or not folder.folders:
        return folder
    inner = folder.find_child(_INNER)
    return inner if inner and len(folder.folders) == 1 and not inner.folders else None


def list_video_samples(split: Split) -> list[Sample]:
    """Return a sample for each video in the split, at any depth, named after its path without the suffix."""
    files = list_files(split.folder)
    names = _choose_video_names([_get_relative_path(path, split) for path, _ in files])
    return [
        _add_class(create_sample(split.name, name, path, estimate_frames(file), None, file.refusal), split, path)
        for name, (path, file) in zip(names, files, strict=True)
    ]


def estimate_frames(video: File) -> float:
    """Estimate the number of frames of a video from its size."""
    return max(video.size_bytes / BYTES_PER_FRAME, 1.0)


def _choose_video_names(paths: list[str]) -> list[str]:
    """Return the paths without suffixes, or with suffixes if two would be equal."""
    stems = [str(PurePosixPath(path).with_suffix("")) for path in paths]
    counts = Counter([*stems, *paths])
    return [stem if counts[stem] == 1 else path for stem, path in zip(stems, paths, strict=True)]


def _get_relative_folder(folder: Folder, split: Split) -> str:
    return _get_relative_path(folder.path, split)


def _get_relative_path(path: str, split: Split) -> str:
    """Return ``path`` relative to the split's folder."""
    return path if split.folder.path == "." else path[len(split.folder.path) + 1 :]
