"""Verification: compare extracted frames with a decode of the whole video, from its first packet and without seeks.

It shares nothing with the reader but the opening of files and the conversion of decoded frames to images: no packet
index, no timeline, no seek, no skipped frame.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import av
from av.video.frame import VideoFrame

from tasks.media.opening import open_container, video_stream
from tasks.media.orientation import Converter, Picture


class FrameMismatchError(Exception):
    """Extracted frames differ from those of a full decode."""


@dataclass(frozen=True)
class Extracted:
    """An extracted frame: its presentation time in the file's terms, and the digest of its image before resizing."""

    pts: int
    digest: str


def choose_frames(item_id: str, indices: Sequence[int], share: float) -> set[int]:
    """Return the frames of an item to verify: a share of ``indices`` (rounded up), the same ones in every run."""
    ranked = sorted(indices, key=lambda index: hashlib.sha256(f"{item_id}:{index}".encode()).digest())
    return set(ranked[: math.ceil(len(ranked) * share)])


def image_digest(image: Picture) -> str:
    """Return a digest of an image's size and pixels."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def verify_frames(path: Path, extracted: Mapping[int, Extracted], is_damaged: bool) -> None:
    """Raise FrameMismatchError if a full decode of ``path`` gives other frames than ``extracted``, by frame index.

    A frame must have the same place among all frames, the same time and the same pixels. In a damaged file
    (``is_damaged``) a decoder may leave out frames, so that only time and pixels are compared.
    """
    decoded = _decode_chosen(path, extracted, is_damaged)
    different = sorted(index for index in extracted if extracted[index].digest not in decoded.get(index, set()))
    if different:
        named = ", ".join(map(str, different[:20])) + (" and more" if len(different) > 20 else "")
        total = f"{len(different)} of {len(extracted)} verified frames"
        raise FrameMismatchError(
            f"{path.name}: {total} differ from a decode of the whole video: frames {named}; please report this file"
        )


def _decode_chosen(path: Path, extracted: Mapping[int, Extracted], is_damaged: bool) -> dict[int, set[str]]:
    """Return the digests of what a full decode shows in the place of each extracted frame."""
    converter = Converter()
    index_of = {frame.pts: index for index, frame in extracted.items()}
    found: dict[int, set[str]] = {}
    for rank, frame in enumerate(decode_all(path)):
        index = index_of.get(frame.pts, -1) if is_damaged and frame.pts is not None else rank
        if index in extracted and (frame.pts is None or frame.pts == extracted[index].pts):
            found.setdefault(index, set()).add(image_digest(converter.picture(frame)))
    return found


def decode_all(path: Path) -> Iterator[VideoFrame]:
    """Yield every frame of a video in presentation order; go on after damaged packets."""
    with open_container(path) as container:
        stream = video_stream(container, path)
        packets = container.demux(stream)
        with suppress(av.error.InvalidDataError, EOFError, StopIteration, IndexError):  # the end of a damaged container
            while True:
                packet = next(packets)
                with suppress(av.error.InvalidDataError, EOFError):
                    yield from packet.decode()
