"""The layouts ``folders`` (a folder of pictures a sample) and ``videos`` (a video a sample), with or without splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.text import showable
from tasks.landmarks.layouts.collection import NO_SPLIT, Media, Sample, split_called
from tasks.media.scan import File, Folder, files_below, name_refusal

# What a frame of a video of people is taken to need, to compare videos with folders of pictures: only costs are made
# of it. Between 2 and 10 kB at 25 frames a second and the sizes that such collections have.
BYTES_A_FRAME = 5_000
# PHOENIX-2014 keeps the pictures of <sample> in <sample>/1.
_INNER = "1"


@dataclass(frozen=True)
class Split:
    """The folder of a split; its name is not a part of its samples' names."""

    name: str
    folder: Folder


def splits_of(tree: Folder) -> list[Split]:
    """The splits in ``tree``: the folders right in it that are called like one and hold no pictures themselves.

    Where there is none, the tree is one split. Where there are some, what lies beside them is passed over.
    """
    named = [(split_called(folder.name), folder) for folder in tree.folders if not folder.pictures]
    splits = [Split(name, folder) for name, folder in named if name is not None]
    return splits or [Split(NO_SPLIT, tree)]


def twice(splits: Iterable[Split], where: str) -> list[Problem]:
    """A problem for each split that two folders are called after, such as ``val`` and ``dev``."""
    folders: dict[str, list[str]] = {}
    for split in splits:
        folders.setdefault(split.name, []).append(split.folder.name)
    return [
        Problem(where, f"the folders {' and '.join(names)}, both the split {split}", "one folder a split", "rename one")
        for split, names in folders.items()
        if len(names) > 1
    ]


def unlistable(splits: Iterable[Split], where: str) -> list[Problem]:
    """A problem for each split whose folder cannot be listed."""
    return [
        Problem(f"{where}, {split.folder.path}", split.folder.reason, "a folder that can be read", "check it")
        for split in splits
        if split.folder.reason
    ]


def sample(split: str, name: str, path: str, cost: float, fps: float | None, refusal: str = "") -> Sample:
    """A sample without annotation: of a folder where ``fps`` is given, of a video where it is None.

    Its ``name`` may be any text: :func:`with_file_names` makes names and ids that are safe as file names. ``refusal``
    says why it cannot be used; a path that no table can hold is refused in any case.
    """
    media: Media = "video" if fps is None else "frames"
    refusal = refusal or name_refusal(path)
    return Sample("", split, name, showable(path), media, fps, cost=float(cost), refusal=refusal)


def folder_samples(split: Split, fps: float) -> list[Sample]:
    """A sample for each folder of pictures in the split, at any depth, and for each that has nothing in it.

    The folder of the split itself is one where it holds pictures; then it gives the sample its name.
    """
    if split.folder.pictures:
        return [sample(split.name, split.folder.name, split.folder.path, split.folder.pictures, fps)]
    return [
        sample(split.name, _below(named, split), pictures.path, max(pictures.pictures, 1), fps)
        for folder in split.folder.folders
        for named, pictures in picture_folders(folder)
    ]


def picture_folders(folder: Folder) -> Iterator[tuple[Folder, Folder]]:
    """(the folder that gives the name, the folder of the pictures) for each sample in ``folder``.

    What lies within a folder of pictures belongs to it. A folder with nothing in it is a sample that will fail.
    """
    inner = inner_folder(folder)
    if inner is not None:
        yield folder, inner
        return
    for child in folder.folders:
        yield from picture_folders(child)


def inner_folder(folder: Folder) -> Folder | None:
    """Where the pictures of a sample are: in its folder, or in ``1`` in it. None where it is no sample's folder."""
    if folder.pictures or not folder.folders:
        return folder
    inner = folder.child(_INNER)
    return inner if inner and len(folder.folders) == 1 and not inner.folders else None


def video_samples(split: Split) -> list[Sample]:
    """A sample for each video in the split, at any depth, called after its path without the suffix."""
    files = files_below(split.folder)
    names = _video_names([_within(path, split) for path, _ in files])
    return [
        sample(split.name, name, path, video_cost(file), None, file.refusal)
        for name, (path, file) in zip(names, files, strict=True)
    ]


def video_cost(video: File) -> float:
    """About how many frames a video has, by its size."""
    return max(video.size_bytes / BYTES_A_FRAME, 1.0)


def _video_names(paths: list[str]) -> list[str]:
    """The paths without their suffixes, or with them where two would be the same."""
    stems = [str(PurePosixPath(path).with_suffix("")) for path in paths]
    taken = Counter([*stems, *paths])
    return [stem if taken[stem] == 1 else path for stem, path in zip(stems, paths, strict=True)]


def _below(folder: Folder, split: Split) -> str:
    return _within(folder.path, split)


def _within(path: str, split: Split) -> str:
    """``path`` as seen from the split's folder."""
    return path if split.folder.path == "." else path[len(split.folder.path) + 1 :]
