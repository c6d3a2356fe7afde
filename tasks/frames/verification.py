"""Verification: compare extracted frames with a full decode of the video, from its first packet and without seeks.

It shares only two things with the reader: opening files and converting decoded frames to images. It uses no packet
index, no timeline and no seeks, and skips no frame.
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

from tasks.media.opening import open_container, select_video_stream
from tasks.media.orientation import Converter, ImageArray


class FrameMismatchError(Exception):
    """Extracted frames differ from those of a full decode."""


@dataclass(frozen=True)
class ExtractedFrame:
    """An extracted frame: its presentation timestamp, and the digest of its image before resizing."""

    pts: int
    digest: str


def choose_frames(item_id: str, indices: Sequence[int], share: float) -> set[int]:
    """Return the indices to verify: a share of ``indices`` (rounded up), the same ones in every run."""
    ranked = sorted(indices, key=lambda index: hashlib.sha256(f"{item_id}:{index}".encode()).digest())
    return set(ranked[: math.ceil(len(ranked) * share)])


def hash_image(image: ImageArray) -> str:
    """Return a digest of an image's size and pixels."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).hexdigest()


def verify_frames(
    path: Path, extracted: Mapping[int, ExtractedFrame], is_damaged: bool, converter: Converter | None = None
) -> None:
    """Raise FrameMismatchError if a full decode of ``path`` differs from ``extracted`` (by frame index).

    A frame must have the same index, time and pixels. In a damaged file (``is_damaged``), decoders may leave out
    frames, so that only time and pixels are compared. ``converter`` has the options of the extraction.
    """
    decoded = _decode_chosen(path, extracted, is_damaged, converter or Converter())
    different = sorted(index for index in extracted if extracted[index].digest not in decoded.get(index, set()))
    if different:
        listed = ", ".join(map(str, different[:20])) + (" and more" if len(different) > 20 else "")
        total = f"{len(different)} of {len(extracted)} verified frames"
        raise FrameMismatchError(
            f"{path.name}: {total} differ from a full decode: frames {listed}; please report this file"
        )


def _decode_chosen(
    path: Path, extracted: Mapping[int, ExtractedFrame], is_damaged: bool, converter: Converter
) -> dict[int, set[str]]:
    """Return the digests of the images that a full decode gives for each extracted frame, by index."""
    index_of = {frame.pts: index for index, frame in extracted.items()}
    digests: dict[int, set[str]] = {}
    for rank, frame in enumerate(decode_all(path)):
        index = index_of.get(frame.pts, -1) if is_damaged and frame.pts is not None else rank
        if index in extracted and (frame.pts is None or frame.pts == extracted[index].pts):
            digests.setdefault(index, set()).add(hash_image(converter.convert(frame)))
    return digests


def decode_all(path: Path) -> Iterator[VideoFrame]:
    """Yield every frame of a video in presentation order; continue after damaged packets."""
    with open_container(path) as container:
        stream = select_video_stream(container, path)
        packets = container.demux(stream)
        with suppress(av.error.InvalidDataError, EOFError, StopIteration, IndexError):  # the end of a damaged container
            while True:
                packet = next(packets)
                with suppress(av.error.InvalidDataError, EOFError):
                    yield from packet.decode()
