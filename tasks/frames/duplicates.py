"""Find near-duplicate videos by the perceptual hashes of their frames. Pure.

Two videos are near-duplicates if most frames of one of them look like frames of the other: copies, other encodings,
sizes and frame rates, and parts of a video. Crops, mirrored copies and other views of a scene are not found.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

MAX_BITS = 6  # of 64 that differ between frames that look alike; other encodings differ in 0 to 4
MIN_SHARE = 0.75  # of a video's frames that look like frames of the other one
_MIN_FRAMES = 3  # with textures, below which only identical frames count
_MAX_HASHES = 64  # of one video that are compared
_CANDIDATE_COST = 64  # of a pair from the index, relative to one of a full comparison
_MAX_CANDIDATES = 4_000_000  # pairs in memory
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
    labels = _label_similar([_list_hashes(frames[videos[0]]) for videos in identical])
    by_label: dict[int, list[str]] = defaultdict(list)
    for label, videos in zip(labels.tolist(), identical, strict=True):
        by_label[label] += videos
    groups = list(by_label.values())
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


def _label_similar(videos: Sequence[Hashes]) -> Ints:
    """Return a number per video, which is equal for videos that are joined by a chain of near-duplicates."""
    hashes = np.concatenate([*videos, np.array([], dtype=np.uint64)])
    counts = np.array([len(own) for own in videos], dtype=np.int64)
    owners = np.repeat(np.arange(len(videos)), counts)
    labels = np.arange(len(videos))
    index = _HashIndex(hashes)
    if index.candidates.sum() * _CANDIDATE_COST > len(hashes) ** 2:  # most videos look alike
        for video in np.flatnonzero(counts >= _MIN_FRAMES).tolist():
            labels = _join_alike(labels, video, _compare_all(hashes, owners, counts, video))
        return labels
    for block in index.list_blocks(owners):
        labels = _join(labels, *_find_similar(*index.find_close(block), owners, counts))
    return labels


def _compare_all(hashes: Hashes, owners: Ints, counts: Ints, video: int) -> Ints:
    """Return the videos that ``video`` looks like, from comparing its hashes with all others."""
    own = hashes[owners == video]
    close = np.bitwise_count(own[:, None] ^ hashes[None, :]) <= MAX_BITS
    with_hashes = np.flatnonzero(counts)
    starts = (np.cumsum(counts) - counts)[with_hashes]
    matched = np.logical_or.reduceat(close, starts, axis=1).sum(axis=0)
    similar: Ints = with_hashes[matched >= MIN_SHARE * len(own)]
    return similar


def _join_alike(labels: Ints, video: int, others: Ints) -> Ints:
    """Return labels in which a video and the others have equal ones."""
    joined = np.unique(np.append(labels[others], labels[video]))
    return labels if len(joined) == 1 else np.where(np.isin(labels, joined), joined[0], labels)


def _find_similar(left: Ints, right: Ints, owners: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Return the pairs of videos of which the first looks like the second.

    ``left`` and ``right`` are positions of hashes that look alike, with all those of the first videos;
    ``owners``: the video of each hash, ``counts``: the hashes of each video.
    """
    total = len(counts)
    matches = np.unique(left * total + owners[right])  # a hash of the first video, and the other video
    pairs, matched = np.unique(owners[matches // total] * total + matches % total, return_counts=True)
    videos, others = pairs // total, pairs % total
    needed = np.maximum(counts[videos] * MIN_SHARE, 1)
    is_similar = (videos != others) & (counts[videos] >= _MIN_FRAMES) & (matched >= needed)
    return videos[is_similar], others[is_similar]


def _join(labels: Ints, left: Ints, right: Ints) -> Ints:
    """Return labels in which the pairs have equal ones too. A label is the number of a video in its group."""
    numbers = np.arange(len(labels))
    rows, columns = np.concatenate([numbers, left]), np.concatenate([labels, right])
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(len(labels), len(labels)))
    components = connected_components(graph, directed=False)[1]
    _, first = np.unique(components, return_index=True)
    joined: Ints = first[components].astype(np.int64)
    return joined


class _HashIndex:
    """Finds hashes that differ in at most MAX_BITS bits by sorted bands of their bits."""

    def __init__(self, hashes: Hashes) -> None:
        self._hashes = hashes
        mask = np.uint64(2**_BAND_BITS - 1)
        bands = [((hashes >> np.uint64(band * _BAND_BITS)) & mask).astype(np.int64) for band in range(_BANDS)]
        self._bands = [(values, np.argsort(values, kind="stable")) for values in bands]

    @cached_property
    def candidates(self) -> Ints:
        """Number of hashes that each one must be compared with."""
        counts = np.zeros(len(self._hashes), dtype=np.int64)
        for wanted, ordered, _ in self._list_lookups(np.arange(len(self._hashes))):
            counts += ordered.searchsorted(wanted, side="right") - ordered.searchsorted(wanted)
        return counts

    def list_blocks(self, owners: Ints) -> list[Ints]:
        """Return all positions in blocks of whole videos with a limited number of candidates."""
        last = np.flatnonzero(np.diff(owners, append=-1))  # of each video
        bounds = last[np.flatnonzero(np.diff(np.cumsum(self.candidates)[last] // _MAX_CANDIDATES))] + 1
        return np.split(np.arange(len(self._hashes)), bounds)

    def find_close(self, positions: Ints) -> tuple[Ints, Ints]:
        """Return the pairs (one of ``positions``, position of a close hash), also of hashes with themselves."""
        total = len(self._hashes)
        found = [np.empty(0, dtype=np.int64)]
        for wanted, ordered, order in self._list_lookups(positions):
            first, stop = (ordered.searchsorted(wanted, side=side) for side in ("left", "right"))
            counts = stop - first
            left = np.repeat(positions, counts)
            inside = np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
            right = order[np.repeat(first, counts) + inside]
            is_close = np.bitwise_count(self._hashes[left] ^ self._hashes[right]) <= MAX_BITS
            found.append((left * total + right)[is_close])
        pairs = np.unique(np.concatenate(found))
        return pairs // max(1, total), pairs % max(1, total)

    def _list_lookups(self, positions: Ints) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Yield band values to find, the sorted band, and its order: for each band and each bit flipped in it."""
        for values, order in self._bands:
            ordered = values[order]
            for flipped in (0, *(1 << bit for bit in range(_BAND_BITS))):
                yield values[positions] ^ flipped, ordered, order
