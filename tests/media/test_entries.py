"""Frames are correct even if a container flags wrong keyframes or changes palettes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

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

# File name -> ffmpeg's arguments and the number of entries; None if the codec's headers do not show them.
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
    """Copy the video with every packet flagged as a keyframe: without a sync table, or by flags."""
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
    """Check that frames are correct and have the same provenance, read alone, with others and with all."""
    total = len(right)
    every = read(path, range(total))
    assert [digest for digest, *_ in every.values()] == list(right)
    assert {frames for *_, frames in every.values()} == {total}
    for chosen in ([total - 1], [total // 2, total // 2 + 1], list(range(2, total, 7))):
        assert read(path, chosen) == {index: every[index] for index in chosen}


@pytest.mark.parametrize("name", WITH_KEYFRAMES_ONLY)
def test_wrong_keyframe_flags_do_not_change_frames(name: str, tmp_path: Path, reference: Reference) -> None:
    """Check that decoding of files with all packets flagged starts at the true keyframes, or at the beginning."""
    words, entries = WITH_KEYFRAMES_ONLY[name]
    path = flag_all(encode(SOURCE, words, tmp_path / f"intact-{name}"), tmp_path / name)
    check(path, [picture for _, picture in reference(path)])
    with PacketSource(path) as source:
        assert int(source.index.entry.sum()) == (entries or 0)


@pytest.mark.parametrize("name", ["all-sync-mpeg4.mp4", "palette-raw.avi"])
def test_sample_files_with_wrong_flags_or_palettes(name: str, reference: Reference) -> None:
    check(DATA / name, [picture for _, picture in reference(DATA / name)])


@pytest.mark.parametrize("source", [PALETTES, ONE_PALETTE], ids=["changing", "constant"])
@pytest.mark.parametrize("name", PALETTIZED)
def test_palettized_frames_equal_a_full_decode(name: str, source: str, tmp_path: Path, reference: Reference) -> None:
    path = encode(source, PALETTIZED[name], tmp_path / name)
    check(path, [picture for _, picture in reference(path)])


def test_saved_index_includes_palettes(tmp_path: Path, reference: Reference) -> None:
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
    """XviD puts P and B frames into one packet in AVI: packet times are not frame times."""
    path = encode(SOURCE, "-c:v libxvid -g 10 -bf 2", tmp_path / "packed.avi")
    with PacketSource(path) as source:
        assert source.index.is_packed
        assert not source.index.entry.any()
    assert len(survey_video(path).restarts) == 0
    check(path, [picture for _, picture in reference(path)])


@pytest.mark.parametrize("words", ["-c:v libx264 -g 10 -bf 2", "-c:v mpeg4 -g 10 -bf 2", "-c:v flv -g 10"])
def test_decoding_restarts_after_a_wrong_entry(words: str, tmp_path: Path, reference: Reference) -> None:
    """Decoding restarts at the beginning if the first decoded frame is not an intra frame."""
    path = encode(SOURCE, words, tmp_path / "video.mkv")
    right = [picture for _, picture in reference(path)]
    with VideoReader(path) as reader:
        decoder = reader._decoder
        decoder._order = replace(decoder._order, entry=np.ones(len(decoder._order), dtype=bool))
        for index in range(3, 25, 5):
            assert [digest(frame.image) for frame in reader.read_frames([index])] == [right[index]]


@pytest.mark.parametrize("words", ["-c:v mpeg4 -g 10 -bf 2", "-c:v mpeg4 -g 10", "-c:v msmpeg4 -g 10"])
def test_video_that_begins_within_a_gop_reports_its_first_frames(
    words: str, tmp_path: Path, reference: Reference
) -> None:
    """These decoders show gray for missing references: such frames are damaged, up to the first keyframe."""
    intact = encode(SOURCE, words, tmp_path / "intact.mkv")
    cut = tmp_path / "cut.mkv"
    with av.open(str(intact)) as source, av.open(str(cut), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        for number, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.size and number > 3:
                packet.stream = stream
                copy.mux(packet)
    right = [picture for _, picture in reference(intact)]
    frames: list[FrameImage | DamagedFrame] = []
    for by_decoding in (False, True):  # the decoder may output a generated frame next to the first one
        with suppress(UnreliableIndexError), VideoReader(cut, by_decoding) as reader:
            frames = list(reader.read_frames_or_damage())
            break
    bad = [isinstance(frame, DamagedFrame) for frame in frames]
    good = [digest(frame.image) for frame in frames if isinstance(frame, FrameImage)]
    assert bad == sorted(bad, reverse=True)
    assert good == right[-len(good) :]
    assert 0 < len(good) < len(frames)


def test_keyframes_without_their_parameter_sets_are_no_entries(tmp_path: Path) -> None:
    """Decoding cannot start at a keyframe without the parameter sets that the stream sent earlier."""
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
def test_exact_recovery_points_are_detected(payload: str, is_exact: bool) -> None:
    """recovery_frame_cnt ue(v), exact_match_flag: 1 1 is exact, 1 0 approximate, 00100 after three frames."""
    assert is_exact_recovery_point(bytes.fromhex(payload + " 80")) == is_exact


def cut_segments(image: bytes, kind: int, keep: int) -> bytes:
    """Return a JPEG image without the segments of that kind after the first ``keep``."""
    kept, place, count = bytearray(image[:2]), 2, 0
    while image[place + 1] != 0xDA:  # start of scan
        end = place + 2 + int.from_bytes(image[place + 2 : place + 4], "big")
        count += image[place + 1] == kind
        if image[place + 1] != kind or count <= keep:
            kept += image[place:end]
        place = end
    return bytes(kept + image[place:])


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
@pytest.mark.parametrize("kind", [0xDB, 0xC4], ids=["quantization", "Huffman"])
def test_jpeg_that_takes_tables_from_earlier_images(
    kind: int, suffix: str, tmp_path: Path, reference: Reference
) -> None:
    """Chroma is quantized, or everything is coded, by tables that only the first image has."""
    path = tmp_path / f"video{suffix}"
    with av.open(str(path), "w") as video:
        stream = video.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuvj420p"
        y, x = np.mgrid[:64, :96]
        for number in range(12):
            shift = number if kind == 0xDB else 0  # optimal Huffman tables are those of one image
            pixels = np.stack([x * 2 + 9 * shift, y * 3 + 5 * shift, x + y], 2).astype(np.uint8)
            written = BytesIO()
            Image.fromarray(pixels).save(written, "JPEG", quality=80, optimize=kind == 0xC4)
            data = written.getvalue()
            packet = av.Packet(cut_segments(data, kind, int(kind == 0xDB)) if number else data)
            packet.pts = packet.dts = number
            packet.stream, packet.is_keyframe, packet.time_base = stream, True, stream.time_base or Fraction(1, 25)
            video.mux(packet)
    check(path, [picture for _, picture in reference(path)])
