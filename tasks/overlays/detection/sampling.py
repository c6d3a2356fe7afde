"""A few frames of a video, spread through it, in memory that its length does not change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import UnreliableIndexError
from tasks.media.runs import decoding_starts
from tasks.media.segments.planes import Plane
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey
from tasks.overlays.components import ComponentReader, Shape, component_shape, planar_name
from tasks.overlays.overlay import Floats

_MOST_BYTES = 96 << 20
_FEWEST_FRAMES = 12
_THUMB = (24, 16)  # width and height


@dataclass(frozen=True)
class Samples:
    """Sampled frames of one video.

    indices     ranks of the frames, rising
    components  one array a component: frames x height x width, codes of the source
    groups      int, one a frame: frames that look alike have the same number, from 0
    """

    shape: Shape
    indices: tuple[int, ...]
    components: tuple[Plane, ...]
    groups: npt.NDArray[np.int64]


def sample_frames(path: Path, found: Survey, most_frames: int, most_groups: int) -> Samples:
    """Decode up to ``most_frames`` frames, in groups that look alike. Raises BadInput where none can be read."""
    picture = found.picture
    shape = component_shape(planar_name(picture.pixel_format))
    samples = sum(picture.width_px * picture.height_px // (across * down) for across, down in shape.divisors)
    count = min(most_frames, max(_FEWEST_FRAMES, _MOST_BYTES // (samples * (1 if shape.bits == 8 else 2))))
    taken = list(read_frames(path, found, _chosen(found, count)))
    if not taken:
        raise BadInput(f"{path.name}: no frame of it can be decoded; repair the video or give another")
    stacks: list[Plane] = []
    for number in range(len(shape.divisors)):
        stacks.append(stacked([planes[number] for _, planes in taken]))
        for _, planes in taken:
            planes[number] = planes[number][:0]  # one component at a time is there twice
    return Samples(shape, tuple(index for index, _ in taken), tuple(stacks), _groups(stacks[0], most_groups))


def read_frames(path: Path, found: Survey, indices: list[int]) -> Iterator[tuple[int, list[Plane]]]:
    """The components of the frames with these indices, rising, without those that cannot be decoded."""
    reader = ComponentReader()
    with SegmentReader(path, found) as video:
        for part in _runs(found, indices):
            wanted = set(part)
            try:
                for one in video.range(part[0], part[-1] + 1):
                    if one.index in wanted and not one.damage:
                        yield one.index, [plane.copy() for plane in reader.components(reader.planar(one.frame))]
            except (BadInput, UnreliableIndexError):
                continue


def stacked(pictures: list[Plane]) -> Plane:
    """Pictures of one component: frames x height x width."""
    stack: Plane = np.empty((len(pictures), *pictures[0].shape), pictures[0].dtype)
    return np.stack(pictures, out=stack)


def _chosen(found: Survey, count: int) -> list[int]:
    """Frames spread through the video; keyframes where there are enough, for they cost no decoding of others."""
    frames = len(found.timeline)
    places = np.unique(np.linspace(0, frames - 1, min(count, frames)).round().astype(int))
    if found.positions is None:
        return [int(place) for place in places]
    keys = np.flatnonzero(found.index.entry[found.positions])
    if len(keys) < count:
        return [int(place) for place in places]
    return [int(keys[place]) for place in np.linspace(0, len(keys) - 1, count).round().astype(int)]


def _runs(found: Survey, indices: list[int]) -> list[list[int]]:
    """``indices`` in parts, each of which is decoded from one keyframe on."""
    if not indices or found.positions is None:
        return [indices] if indices else []
    starts = decoding_starts(found.index, found.positions[indices].tolist())
    runs: dict[int, list[int]] = {}
    for index, start in zip(indices, starts, strict=True):
        runs.setdefault(start, []).append(index)
    return sorted(runs.values())


def _groups(luma: Plane, most: int) -> npt.NDArray[np.int64]:
    """Groups around frames that are as different as can be: each seed is the frame farthest from those before it."""
    thumbs = np.stack([_thumb(frame) for frame in luma])
    distance = np.full(len(thumbs), np.inf, np.float32)
    nearest, seed = np.zeros(len(thumbs), np.int64), 0
    for number in range(min(most, len(thumbs))):
        away = np.abs(thumbs - thumbs[seed]).mean(axis=(1, 2))
        nearest[away < distance] = number
        distance = np.minimum(distance, away)
        seed = int(distance.argmax())
    return np.unique(nearest, return_inverse=True)[1].astype(np.int64)


def _thumb(frame: Plane) -> Floats:
    return np.asarray(cv2.resize(frame, _THUMB, interpolation=cv2.INTER_AREA), np.float32)
