"""Sampled frames of a video, in memory that does not depend on its length."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from tasks.engine.contract.errors import BadInput
from tasks.media.decoding import UnreliableIndexError
from tasks.media.runs import find_decoding_starts
from tasks.media.segments.planes import Plane
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey
from tasks.overlays.components import ComponentReader, Shape, get_planar_format, read_shape
from tasks.overlays.overlay import Floats

_MAX_BYTES = 96 << 20
_MIN_FRAMES = 12
_THUMB = (24, 16)  # width and height


@dataclass(frozen=True)
class Samples:
    """Sampled frames of one video.

    indices     indices of the frames, ascending
    components  one array per component: frames x height x width, in codes of the source
    groups      int, one per frame: similar frames have the same number, from 0
    """

    shape: Shape
    indices: tuple[int, ...]
    components: tuple[Plane, ...]
    groups: npt.NDArray[np.int64]


def sample_frames(path: Path, survey: Survey, max_frames: int, max_groups: int) -> Samples:
    """Decode up to ``max_frames`` frames and group similar ones. Raises BadInput if none can be read."""
    picture = survey.picture
    shape = read_shape(get_planar_format(picture.pixel_format))
    samples = sum(picture.width_px * picture.height_px // (across * down) for across, down in shape.divisors)
    count = min(max_frames, max(_MIN_FRAMES, _MAX_BYTES // (samples * (1 if shape.bits == 8 else 2))))
    taken = list(read_frames(path, survey, _choose_frames(survey, count)))
    if not taken:
        raise BadInput(f"{path.name}: no frame of it can be decoded; repair the video or give another")
    stacks: list[Plane] = []
    for number in range(len(shape.divisors)):
        stacks.append(stack_frames([planes[number] for _, planes in taken]))
        for _, planes in taken:
            planes[number] = planes[number][:0]  # so that only one component is in memory twice
    return Samples(shape, tuple(index for index, _ in taken), tuple(stacks), _group_frames(stacks[0], max_groups))


def read_frames(path: Path, survey: Survey, indices: list[int]) -> Iterator[tuple[int, list[Plane]]]:
    """Yield the index and components of the frames at ascending ``indices``; skip those that cannot be decoded."""
    reader = ComponentReader()
    with SegmentReader(path, survey) as video:
        for part in _group_by_keyframe(survey, indices):
            wanted = set(part)
            try:
                for read in video.range(part[0], part[-1] + 1):
                    if read.index in wanted and not read.damage:
                        yield (
                            read.index,
                            [plane.copy() for plane in reader.get_components(reader.make_planar(read.frame))],
                        )
            except (BadInput, UnreliableIndexError):
                continue


def stack_frames(frames: list[Plane]) -> Plane:
    """Return the frames of one component as one array: frames x height x width."""
    stack: Plane = np.empty((len(frames), *frames[0].shape), frames[0].dtype)
    return np.stack(frames, out=stack)


def _choose_frames(survey: Survey, count: int) -> list[int]:
    """Return frame indices spread through the video; keyframes if there are enough, as they decode alone."""
    frames = len(survey.timeline)
    places = np.unique(np.linspace(0, frames - 1, min(count, frames)).round().astype(int))
    if survey.positions is None:
        return [int(place) for place in places]
    keys = np.flatnonzero(survey.index.entry[survey.positions])
    if len(keys) < count:
        return [int(place) for place in places]
    return [int(keys[place]) for place in np.linspace(0, len(keys) - 1, count).round().astype(int)]


def _group_by_keyframe(survey: Survey, indices: list[int]) -> list[list[int]]:
    """Split ``indices`` into parts, each decoded from one keyframe."""
    if not indices or survey.positions is None:
        return [indices] if indices else []
    starts = find_decoding_starts(survey.index, survey.positions[indices].tolist())
    runs: dict[int, list[int]] = {}
    for index, start in zip(indices, starts, strict=True):
        runs.setdefault(start, []).append(index)
    return sorted(runs.values())


def _group_frames(luma: Plane, max_groups: int) -> npt.NDArray[np.int64]:
    """Group frames around seeds; each seed is the frame farthest from the seeds before it."""
    thumbs = np.stack([_shrink(frame) for frame in luma])
    distance = np.full(len(thumbs), np.inf, np.float32)
    nearest, seed = np.zeros(len(thumbs), np.int64), 0
    for number in range(min(max_groups, len(thumbs))):
        away = np.abs(thumbs - thumbs[seed]).mean(axis=(1, 2))
        nearest[away < distance] = number
        distance = np.minimum(distance, away)
        seed = int(distance.argmax())
    return np.unique(nearest, return_inverse=True)[1].astype(np.int64)


def _shrink(frame: Plane) -> Floats:
    return np.asarray(cv2.resize(frame, _THUMB, interpolation=cv2.INTER_AREA), np.float32)
