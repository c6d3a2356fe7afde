"""Find near-duplicate videos by the perceptual hashes of their frames. Pure.

Two videos are near-duplicates if most frames of one of them look like frames of the other: copies, other encodings,
sizes and frame rates, and parts of a video. Crops, mirrored copies and other views of a scene are not found.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_BITS = 6  # of 64 that differ between frames that look alike; other encodings differ in 0 to 4
MIN_SHARE = 0.75  # of a video's frames that look like frames of the other one
_MIN_FRAMES = 3  # with textures, below which only identical frames count
_MAX_HASHES = 64  # of one video that are compared
_BANDS, _BAND_BITS = 4, 16  # hashes with at most 7 different bits have a band with at most one

Hashes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class DuplicateGroup:
    """Videos with much the same content, sorted. ``is_identical``: all extracted frames have the same bytes."""

    videos: tuple[str, ...]
    is_identical: bool


def find_duplicates(samples: Iterable[Mapping[str, Any]]) -> list[DuplicateGroup]:
    """Return the groups of near-duplicate videos; ``samples`` are details of the frames stage."""
    frames: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for sample in samples:
        frames[sample["video"]] += sample["frames"]
    by_digests: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for video in sorted(frames):
        by_digests[tuple(sorted({frame["sha256"] for frame in frames[video]}))].append(video)
    identical = [videos for digests, videos in by_digests.items() if digests]
    parents = _Union(len(identical))
    for pair in _find_similar([_list_hashes(frames[videos[0]]) for videos in identical]):
        parents.join(*pair)
    groups = [[video for number in numbers for video in identical[number]] for numbers in parents.list_groups()]
    kinds = {videos[0]: len(videos) for videos in identical}
    found = [DuplicateGroup(tuple(sorted(group)), kinds.get(group[0]) == len(group)) for group in groups]
    return sorted((group for group in found if len(group.videos) > 1), key=lambda group: group.videos)


def choose_representatives(groups: Iterable[DuplicateGroup]) -> dict[str, str]:
    """Return the video that stands for its group, for each video in a group: that with the smallest hash."""
    return {video: min(group.videos, key=_hash_text) for group in groups for video in group.videos}


def _hash_text(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _list_hashes(frames: Sequence[Mapping[str, Any]]) -> Hashes:
    """Return the distinct hashes of a video's frames, at most _MAX_HASHES, evenly spaced."""
    texts = list(dict.fromkeys(frame["phash"] for frame in frames if frame["phash"]))
    step = max(1, -(-len(texts) // _MAX_HASHES))
    return np.array([int(text, 16) for text in texts[::step]], dtype=np.uint64)


def _find_similar(videos: Sequence[Hashes]) -> Iterator[tuple[int, int]]:
    """Yield pairs of numbers of videos that are near-duplicates."""
    hashes = np.concatenate([*videos, np.array([], dtype=np.uint64)])
    owners = np.repeat(np.arange(len(videos)), [len(own) for own in videos])
    matched: dict[tuple[int, int], set[int]] = defaultdict(set)
    for left, right in _find_close_pairs(hashes).tolist():
        if owners[left] != owners[right]:
            matched[int(owners[left]), int(owners[right])].add(left)
            matched[int(owners[right]), int(owners[left])].add(right)
    for (video, other), numbers in matched.items():
        count = len(videos[video])
        if count >= _MIN_FRAMES and len(numbers) >= MIN_SHARE * count:
            yield video, other


def _find_close_pairs(hashes: Hashes) -> Ints:
    """Return the pairs of positions, lower first, whose hashes differ in at most MAX_BITS bits; shape (n, 2)."""
    pairs = [np.empty((0, 2), dtype=np.int64)]
    for band in range(_BANDS):
        values = ((hashes >> np.uint64(band * _BAND_BITS)) & np.uint64(2**_BAND_BITS - 1)).astype(np.int64)
        order = np.argsort(values, kind="stable")
        flips = (0, *(1 << bit for bit in range(_BAND_BITS)))
        pairs += [_keep_close(hashes, _match(values ^ flipped, values[order], order)) for flipped in flips]
    return np.unique(np.concatenate(pairs), axis=0)


def _match(wanted: Ints, ordered: Ints, order: Ints) -> Ints:
    """Return the pairs (position in ``wanted``, position of an equal value); ``ordered`` is sorted by ``order``."""
    first, stop = (ordered.searchsorted(wanted, side=side) for side in ("left", "right"))
    counts = stop - first
    left = np.repeat(np.arange(len(wanted)), counts)
    inside = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
    right = order[np.repeat(first, counts) + inside]
    pairs: Ints = np.stack([left, right], axis=1)[left < right]
    return pairs


def _keep_close(hashes: Hashes, pairs: Ints) -> Ints:
    distances = np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])
    close: Ints = pairs[distances <= MAX_BITS]
    return close


class _Union:
    """Groups of numbers that are joined pair by pair."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def join(self, left: int, right: int) -> None:
        """Put the groups of two numbers together."""
        self._parents[self._find(left)] = self._find(right)

    def list_groups(self) -> list[list[int]]:
        """Return all groups, each ascending."""
        groups: dict[int, list[int]] = defaultdict(list)
        for number in range(len(self._parents)):
            groups[self._find(number)].append(number)
        return list(groups.values())

    def _find(self, number: int) -> int:
        while self._parents[number] != number:
            self._parents[number] = self._parents[self._parents[number]]
            number = self._parents[number]
        return number
