"""Damaged files give correct frames or BadInput, never other frames, crashes or endless loops."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import av
import pytest

from tasks.engine.contract.errors import BadInput
from tasks.media.orientation import Converter
from tasks.media.reading import UnreliableIndexError, VideoReader

from .conftest import digest

Reference = Callable[[Path], list[tuple[int | None, str]]]
SEEDS = range(6)


def read_eight_frames(path: Path) -> list[tuple[int, str]]:
    for by_decoding in (False, True):
        try:
            with VideoReader(path, by_decoding) as reader:
                total = len(reader.timeline)
                frames = list(reader.read_frames(sorted({int((part + 0.5) * total / 8) for part in range(8)})))
        except UnreliableIndexError:
            continue
        return [(frame.pts, digest(frame.image)) for frame in frames]
    raise AssertionError("reading by decoding cannot find the index unreliable")


def read_or_check_refusal(path: Path) -> list[tuple[int, str]]:
    """Return eight frames; none if the file is rejected, and then check that the message is one line with its name."""
    try:
        return read_eight_frames(path)
    except BadInput as error:
        refusal = str(error)
    assert refusal.startswith(f"{path.name}: ")
    assert "\n" not in refusal
    return []


def flip_bits(data: bytes, seed: int) -> bytes:
    """Return ``data`` with 1, 5 or 50 inverted bits."""
    rng = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 5, 50])):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def decode_fully(path: Path) -> dict[int, set[str]]:
    """Return digests of a full decode of a damaged file, by pts, with each damaged packet left out."""
    digests: dict[int, set[str]] = defaultdict(set)
    converter = Converter()
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        for packet in container.demux(stream):
            with suppress(av.error.InvalidDataError, EOFError):
                for frame in packet.decode():
                    digests[frame.pts].add(digest(converter.convert(frame)))
    return digests


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["plain.mp4", "plain.ts", "mpeg2-b-frames.mpg", "vfr.mkv", "mpeg4-b-frames.avi"])
def test_flipped_bits(
    name: str, seed: int, defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    """Compare each frame with that of the intact file, or that of a full decode of the damaged file."""
    right = {pts: {picture} for pts, picture in reference(defect(name))}
    path = tmp_path / name
    path.write_bytes(flip_bits(defect(name).read_bytes(), seed))
    frames = read_or_check_refusal(path)
    full = decode_fully(path)
    for pts, picture in frames:
        assert picture in right.get(pts, set()) | full[pts]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["open-gop-hevc.ts", "hidden-frames.webm", "superframes.webm"])
def test_flipped_bits_end_in_frames_or_a_refusal(
    name: str, seed: int, defect: Callable[[str], Path], tmp_path: Path
) -> None:
    """Accept any frames: these decoders show uninitialized memory if a reference is missing."""
    path = tmp_path / name
    path.write_bytes(flip_bits(defect(name).read_bytes(), seed))
    read_or_check_refusal(path)


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("name", ["plain.mp4", "fragmented.mp4", "plain.ts", "vfr.mkv"])
def test_truncated_file_gives_intact_frames_or_a_refusal(
    name: str, share: float, defect: Callable[[str], Path], reference: Reference, tmp_path: Path
) -> None:
    intact = {picture for _, picture in reference(defect(name))}
    data = defect(name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    frames = read_or_check_refusal(path)
    assert {picture for _, picture in frames} <= intact


def test_index_at_the_front_of_a_truncated_file_is_not_trusted(
    defect: Callable[[str], Path], reference: Reference, ffmpeg: Callable[..., bytes], tmp_path: Path
) -> None:
    """Check that missing frames, which the index lists, are not replaced by the last existing ones."""
    whole = tmp_path / "whole.mp4"
    ffmpeg("-i", str(defect("plain.mp4")), "-c", "copy", "-movflags", "+faststart", str(whole))
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with VideoReader(path) as reader:
        assert reader.truncation is not None
        assert reader.truncation.stated_seconds == 2.0
        frames = [digest(frame.image) for frame in reader.read_frames(range(len(reader.timeline)))]
    assert 15 < len(frames) < 35
    assert frames == [picture for _, picture in reference(whole)][: len(frames)]
