"""Frames are right whatever a container says about keyframes and palettes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from tasks.media.demuxing import PacketSource
from tasks.media.h264 import is_exact_recovery_point
from tasks.media.reading import DamagedFrame, FrameImage, UnreliableIndexError, VideoReader
from tasks.media.segments.source import load_survey, save_survey, survey_video

from .conftest import digest, run_ffmpeg

Reference = Callable[[Path], list[tuple[int | None, str]]]
DATA = Path(__file__).resolve().parents[1] / "data" / "video"

SOURCE = "-f lavfi -i testsrc2=s=128x96:r=25:d=1,noise=alls=10:allf=t"
PALETTES = (
    "-f lavfi -i testsrc2=s=64x48:r=10:d=2 -vf split[a][b];[a]palettegen=stats_mode=single[p];[b][p]paletteuse=new=1"
)
ONE_PALETTE = "-f lavfi -i testsrc2=s=64x48:r=10:d=2 -vf split[a][b];[a]palettegen[p];[b][p]paletteuse"
X265 = "-c:v libx265 -x265-params log-level=error"

# File name -> ffmpeg's arguments and the number of packets at which decoding can start; None if the codec does not say.
WITH_KEYFRAMES_ONLY: dict[str, tuple[str, int | None]] = {
    "mpeg4.mp4": ("-c:v mpeg4 -g 10 -bf 2", 3),
    "mpeg4.mkv": ("-c:v mpeg4 -g 10", 3),
    "xvid.mp4": ("-c:v libxvid -g 10 -bf 0", 3),
    "h263.mov": ("-s 128x96 -c:v h263 -g 10", 3),
    "h263p.avi": ("-c:v h263p -g 10", 3),
    "flv1.flv": ("-c:v flv -g 10", 3),
    "msmpeg4v2.avi": ("-c:v msmpeg4v2 -g 10", 3),
    "msmpeg4v3.avi": ("-c:v msmpeg4 -g 10", 3),
    "wmv1.asf": ("-c:v wmv1 -g 10", 3),
    "wmv2.asf": ("-c:v wmv2 -g 10", 3),
    "svq1.mov": ("-c:v svq1 -g 10", 3),
    "qtrle.mov": ("-c:v qtrle", None),
    "cinepak.mov": ("-c:v cinepak", None),
    "rpza.mov": ("-c:v rpza", None),
    "msvideo1.avi": ("-c:v msvideo1", None),
    "zmbv.avi": ("-c:v zmbv", 1),
    "flashsv.flv": ("-c:v flashsv", None),
    "mpeg2.mkv": ("-c:v mpeg2video -g 10 -bf 2", 3),
    "h264.mp4": ("-c:v libx264 -g 10 -sc_threshold 0", 3),
    "h264-open-gop.mov": ("-c:v libx264 -g 10 -x264-params open-gop=1:bframes=3:scenecut=0", 3),
    "h264-intra-refresh.mp4": ("-c:v libx264 -g 10 -x264-params intra-refresh=1:bframes=0", 1),
    "hevc.mp4": (f"{X265}:scenecut=0 -g 10", 3),
    "hevc-open-gop.nut": (f"{X265}:open-gop=1:bframes=3:scenecut=0 -g 10", 3),
    "vp8.mkv": ("-c:v libvpx -g 10 -cpu-used 8", 3),
    "vp9.mp4": ("-c:v libvpx-vp9 -g 10 -cpu-used 8", 3),
    "av1.mp4": ("-c:v libsvtav1 -preset 12 -g 10 -svtav1-params lp=1", 3),
    "ffv1.mkv": ("-c:v ffv1 -g 10", 3),
    "theora.mov": ("-c:v libtheora -g 10", 3),
}

PALETTIZED = {
    "raw.avi": "-c:v rawvideo -pix_fmt pal8",
    "raw.mov": "-c:v rawvideo -pix_fmt pal8",
    "raw.nut": "-c:v rawvideo -pix_fmt pal8",
    "rle.avi": "-c:v msrle -pix_fmt pal8",
    "rle.mov": "-c:v qtrle -pix_fmt pal8",
    "smc.mov": "-c:v smc -pix_fmt pal8",
    "png.mov": "-c:v png -pix_fmt pal8",
    "zmbv.avi": "-c:v zmbv -pix_fmt pal8 -g 8",
    "animation.gif": "-c:v gif",
}


def encode(source: str, words: str, path: Path) -> Path:
    run_ffmpeg(*source.split(), *words.split(), str(path))
    return path


def flag_all(path: Path, to: Path) -> Path:
    """Write a copy in which every packet is flagged as a keyframe: without a sync table, or by flags."""
    if path.suffix in {".mp4", ".mov"}:
        to.write_bytes(path.read_bytes().replace(b"stss", b"free"))
        return to
    with av.open(str(path)) as source, av.open(str(to), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.size:
                packet.is_keyframe, packet.stream = True, stream
                copy.mux(packet)
    return to


def read(path: Path, indices: Sequence[int]) -> dict[int, tuple[str, int, float, int, int]]:
    """Return digest and provenance of these frames, with the frames of the video."""
    with VideoReader(path) as reader:
        return {
            frame.frame_index: (
                digest(frame.image),
                frame.pts,
                frame.actual_seconds,
                frame.keyframe_distance_frames,
                len(reader.timeline),
            )
            for frame in reader.read_frames(indices)
        }


def check(path: Path, right: Sequence[str]) -> None:
    """Each frame is right and has the same provenance, alone, with others and with all."""
    total = len(right)
    every = read(path, range(total))
    assert [digest for digest, *_ in every.values()] == list(right)
    assert {frames for *_, frames in every.values()} == {total}
    for chosen in ([total - 1], [total // 2, total // 2 + 1], list(range(2, total, 7))):
        assert read(path, chosen) == {index: every[index] for index in chosen}


@pytest.mark.parametrize("name", WITH_KEYFRAMES_ONLY)
def test_keyframe_flags_are_not_trusted(name: str, tmp_path: Path, reference: Reference) -> None:
    """Every packet is flagged; decoding starts at the true keyframes, or at the beginning."""
    words, entries = WITH_KEYFRAMES_ONLY[name]
    path = flag_all(encode(SOURCE, words, tmp_path / f"sound-{name}"), tmp_path / name)
    check(path, [picture for _, picture in reference(path)])
    with PacketSource(path) as source:
        assert int(source.index.entry.sum()) == (entries or 0)


@pytest.mark.parametrize("name", ["all-sync-mpeg4.mp4", "palette-raw.avi"])
def test_videos_that_gave_wrong_frames(name: str, reference: Reference) -> None:
    check(DATA / name, [picture for _, picture in reference(DATA / name)])


@pytest.mark.parametrize("source", [PALETTES, ONE_PALETTE], ids=["changing", "constant"])
@pytest.mark.parametrize("name", PALETTIZED)
def test_palettes_are_those_of_a_full_decode(name: str, source: str, tmp_path: Path, reference: Reference) -> None:
    path = encode(source, PALETTIZED[name], tmp_path / name)
    check(path, [picture for _, picture in reference(path)])


def test_palettes_go_with_a_saved_index(tmp_path: Path, reference: Reference) -> None:
    """Segments read with the index of the survey, from the middle of the video."""
    path = encode(PALETTES, "-c:v rawvideo -pix_fmt pal8", tmp_path / "raw.avi")
    save_survey(survey_video(path), tmp_path / "survey")
    index = load_survey(tmp_path / "survey").index
    with PacketSource(path) as source:
        assert index.side_data == source.index.side_data
        assert len(index.side_data) > 1
    with PacketSource(path, index=index) as source:
        (_, packet), *_ = source.read_packets(13, 14)
        in_force = [piece.data for piece in index.side_data if piece.position <= 13]
        assert bytes(packet.get_sidedata("palette")) == in_force[-1]


def test_packed_frames_are_counted_by_decoding(tmp_path: Path, reference: Reference) -> None:
    """XviD puts P and B pictures into one packet in AVI: times of packets say nothing about frames."""
    path = encode(SOURCE, "-c:v libxvid -g 10 -bf 2", tmp_path / "packed.avi")
    with PacketSource(path) as source:
        assert source.index.is_packed
        assert not source.index.entry.any()
    assert len(survey_video(path).restarts) == 0
    check(path, [picture for _, picture in reference(path)])


@pytest.mark.parametrize("words", ["-c:v libx264 -g 10 -bf 2", "-c:v mpeg4 -g 10 -bf 2", "-c:v flv -g 10"])
def test_a_wrong_entry_is_noticed(words: str, tmp_path: Path, reference: Reference) -> None:
    """A frame decoded first that is no intra frame sends decoding back to the beginning."""
    path = encode(SOURCE, words, tmp_path / "video.mkv")
    right = [picture for _, picture in reference(path)]
    with VideoReader(path) as reader:
        decoder = reader._decoder
        decoder._order = replace(decoder._order, entry=np.ones(len(decoder._order), dtype=bool))
        for index in range(3, 25, 5):
            assert [digest(frame.image) for frame in reader.read_frames([index])] == [right[index]]


@pytest.mark.parametrize("words", ["-c:v mpeg4 -g 10 -bf 2", "-c:v mpeg4 -g 10", "-c:v msmpeg4 -g 10"])
def test_a_video_that_begins_within_a_group(words: str, tmp_path: Path, reference: Reference) -> None:
    """These decoders show gray for what was cut off: such frames are damaged, up to the first keyframe."""
    sound = encode(SOURCE, words, tmp_path / "sound.mkv")
    cut = tmp_path / "cut.mkv"
    with av.open(str(sound)) as source, av.open(str(cut), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.size and number > 3:
                packet.stream = stream
                copy.mux(packet)
    right = [picture for _, picture in reference(sound)]
    found: list[FrameImage | DamagedFrame] = []
    for by_decoding in (False, True):  # the decoder may show a made-up frame beside the first one
        with suppress(UnreliableIndexError), VideoReader(cut, by_decoding) as reader:
            found = list(reader.read_frames_or_damage())
            break
    bad = [isinstance(frame, DamagedFrame) for frame in found]
    good = [digest(frame.image) for frame in found if isinstance(frame, FrameImage)]
    assert bad == sorted(bad, reverse=True)
    assert good == right[-len(good) :]
    assert 0 < len(good) < len(found)


def test_a_headerless_entry_needs_the_headers_of_the_stream(tmp_path: Path) -> None:
    """Parameter sets sent in the stream and not with a keyframe: decoding cannot start there."""
    path = encode(SOURCE, "-c:v libx264 -g 10 -sc_threshold 0 -f h264", tmp_path / "video.h264")
    with PacketSource(path) as source:
        assert int(source.index.entry.sum()) == 3
    data = path.read_bytes()
    pieces = [piece.rstrip(b"\0") for piece in data.split(b"\0\0\1") if piece.strip(b"\0")]
    kept = [piece for number, piece in enumerate(pieces) if number < 4 or piece[0] & 31 not in {7, 8}]
    changed = tmp_path / "changed.h264"
    other = encode(SOURCE, "-t 0.2 -c:v libx264 -profile:v baseline -g 10 -f h264", tmp_path / "other.h264")
    changed.write_bytes(other.read_bytes() + b"".join(b"\0\0\0\1" + piece for piece in kept))
    with PacketSource(changed) as source:
        assert int(source.index.entry.sum()) == 2


@pytest.mark.parametrize(
    ("payload", "is_exact"),
    [("06 06 01 c0", True), ("06 06 01 80", False), ("06 06 02 26 20", False), ("06 05 01 00 06 01 c0", True)],
)
def test_recovery_points(payload: str, is_exact: bool) -> None:
    """recovery_frame_cnt ue(v), exact_match_flag: 1 1 is exact at once, 1 0 only about, 00100 in three frames."""
    assert is_exact_recovery_point(bytes.fromhex(payload + " 80")) == is_exact
