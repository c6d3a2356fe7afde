"""What a collection of sequences is, whatever its layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tasks.engine.contract.items import distinct_ids
from tasks.engine.contract.text import showable

Media = Literal["frames", "video"]

NO_SPLIT = "all"  # where a collection has no splits
FRAMES_FPS = 25.0  # PHOENIX's, and what is assumed of pictures where nobody says
# How splits are called in the wild, letter case aside.
SPLIT_NAMES: Mapping[str, str] = {
    "train": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
}


@dataclass(frozen=True)
class Sample:
    """One sequence of pictures of one person, or of several.

    id          safe as a file name, unique in the collection
    split       ``all`` where the collection has none
    name        safe as a file name, unique within its split, also if case is ignored
    path        relative to the collection's root: a folder of pictures or a video
    fps         of the set; None: the video's own
    annotation  the corpus' words (glosses, or what the manifest says), carried along; enters no key
    fields      other columns of the corpus or the manifest; enter no key
    cost        predicted work in frames; enters no key
    refusal     why its folder or file cannot be used, if a scan says so
    title       its name as the collection has it, any text; empty if that is ``name``
    """

    id: str
    split: str
    name: str
    path: str
    media: Media
    fps: float | None
    annotation: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    cost: float = 1.0
    refusal: str = ""
    title: str = ""

    @property
    def shown_name(self) -> str:
        """Its name as the collection has it."""
        return self.title or self.name


@dataclass(frozen=True)
class Collection:
    """The samples that a run is to work on, in the order in which people would list them.

    root    absolute; the paths of the samples start from it
    layout  how it was read: ``phoenix``, ``folders``, ``videos`` or ``manifest``
    notes   what was passed over that a user may want to know of, a line each
    """

    root: Path
    samples: tuple[Sample, ...]
    layout: str
    notes: tuple[str, ...] = ()


def with_file_names(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return ``samples``, which have the collection's own names, with ids and names that are safe as file names."""
    by_split: dict[str, list[str]] = {}
    for sample in samples:
        by_split.setdefault(sample.split, []).append(sample.name)
    names = {split: dict(zip(given, distinct_ids(given), strict=True)) for split, given in by_split.items()}
    named = [_with_file_name(sample, names[sample.split][sample.name]) for sample in samples]
    ids = distinct_ids(
        [f"{sample.split}/{sample.name}" for sample in named], [f"{sample.split}.{sample.name}" for sample in named]
    )
    return tuple(replace(sample, id=sample_id) for sample, sample_id in zip(named, ids, strict=True))


def _with_file_name(sample: Sample, name: str) -> Sample:
    return replace(sample, name=name, title="" if name == sample.name else showable(sample.name))


def split_called(name: str) -> str | None:
    """The split that a folder or a cell called ``name`` stands for; None where it is not one of the usual ones."""
    return SPLIT_NAMES.get(name.casefold())
