"""A collection of samples, independent of its layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from tasks.engine.contract.items import make_distinct_ids
from tasks.engine.contract.text import showable

Media = Literal["frames", "video"]

NO_SPLIT = "all"  # split of a collection without splits
FRAMES_FPS = 25.0  # PHOENIX's frame rate, the default for image folders
# Split names in common use, in lower case.
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
    """One image sequence or video of one or more people.

    id          safe as a file name, unique in the collection
    split       ``all`` if the collection has no splits
    name        safe as a file name, unique within its split (ignoring case)
    path        image folder or video, relative to the collection's root
    fps         frame rate of an image folder; None: the video's own
    annotation  text of the corpus (glosses) or the manifest, copied to the outputs; enters no key
    fields      other columns of the corpus or the manifest; enter no key
    cost        predicted work in frames; enters no key
    refusal     reason why its folder or file cannot be used, from a scan
    title       its name in the collection, any text; empty if equal to ``name``
    start, end  of a part of a video, in seconds; None: the whole video
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
    start: float | None = None
    end: float | None = None

    @property
    def shown_name(self) -> str:
        """Return its name in the collection."""
        return self.title or self.name


@dataclass(frozen=True)
class Collection:
    """The samples of a run, in natural order.

    root    absolute path; sample paths are relative to it
    layout  ``phoenix``, ``folders``, ``videos`` or ``manifest``
    notes   messages about files and folders that were not read
    """

    root: Path
    samples: tuple[Sample, ...]
    layout: str
    notes: tuple[str, ...] = ()


def assign_file_names(samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return ``samples`` (named as in the collection) with ids and names that are safe as file names."""
    by_split: dict[str, list[str]] = {}
    for sample in samples:
        by_split.setdefault(sample.split, []).append(sample.name)
    names = {
        split: dict(zip(originals, make_distinct_ids(originals), strict=True)) for split, originals in by_split.items()
    }
    named = [_assign_file_name(sample, names[sample.split][sample.name]) for sample in samples]
    ids = make_distinct_ids(
        [f"{sample.split}/{sample.name}" for sample in named], [f"{sample.split}.{sample.name}" for sample in named]
    )
    return tuple(replace(sample, id=sample_id) for sample, sample_id in zip(named, ids, strict=True))


def _assign_file_name(sample: Sample, name: str) -> Sample:
    return replace(sample, name=name, title="" if name == sample.name else showable(sample.name))


def normalize_split(name: str) -> str | None:
    """Return the split that a folder or cell named ``name`` means; None if the name is not a common one."""
    return SPLIT_NAMES.get(name.casefold())
