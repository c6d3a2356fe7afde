"""Fixtures for the tests of segments.

make_video     makes a video by its file name in KINDS or DEFECTS
decode_frames  returns (pts, digest of the stored pixels) of each frame, from a full decode on one thread
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from tasks.media.segments.planes import hash_frame

from ..conftest import DEFECTS, UNEVEN, X264_OPEN, X265_OPEN, run_ffmpeg  # noqa: TID252

VIDEO = "-f lavfi -i testsrc2=s=192x108:r=25:d=1.6"
AUDIO = "-f lavfi -i sine=f=440:r=48000:d=1.7"
OTHER_AUDIO = "-f lavfi -i sine=f=880:r=44100:d=1.2"
NTSC = "-f lavfi -i testsrc2=s=360x240:r=30000/1001:d=1.2"

# File name -> ffmpeg arguments, in addition to DEFECTS of tests/media.
KINDS = {
    "sound.mp4": f"{VIDEO} {AUDIO} {X264_OPEN} -c:a aac -metadata title=Two -metadata:s:a language=deu "
    "-vf setparams=color_primaries=bt470bg:color_trc=bt470bg:colorspace=bt470bg",
    "sound.mkv": f"{VIDEO} {AUDIO} {X264_OPEN} -c:a libopus -metadata title=Two -metadata:s:a language=deu",
    "sound.ts": f"{VIDEO} {AUDIO} {X264_OPEN} -c:a aac",
    "sound.mpg": f"{VIDEO} {AUDIO} -c:v mpeg2video -g 12 -bf 2 -c:a mp2 -b:a 192k -ar 48000",
    "sound.avi": f"{VIDEO} {AUDIO} -c:v mjpeg -c:a pcm_s16le",
    "sound.webm": f"{VIDEO} {AUDIO} -c:v libvpx-vp9 -cpu-used 8 -deadline realtime -g 20 -c:a libopus",
    "sound-before.mp4": f"-itsoffset 0.5 {VIDEO} {AUDIO} {X264_OPEN} -c:a aac",
    "sound-after.mp4": f"{VIDEO} -itsoffset 0.7103 {AUDIO} {X264_OPEN} -c:a aac",
    "two-sounds.mkv": f"{VIDEO} {AUDIO} {OTHER_AUDIO} -map 0 -map 1 -map 2 {X264_OPEN} -c:a:0 flac -c:a:1 ac3 "
    "-metadata:s:a:0 language=eng -metadata:s:a:1 language=fra -disposition:a:1 comment",
    "bob.mp4": "-f lavfi -i testsrc2=s=192x144:r=50:d=1.2 -vf interlace=scan=tff -flags +ildct+ilme -c:v libx264",
    "ntsc-dv-like.avi": f"{NTSC} -s 720x480 -pix_fmt yuv411p -c:v dvvideo",
    "one-frame.mp4": "-f lavfi -i testsrc2=s=192x108:r=25:d=0.04 -c:v libx264",
    "ntsc.mp4": f"{NTSC} {X264_OPEN} -video_track_timescale 30000",
    "cut-by-edit-list.mp4": "-ss 0.52 -i {sound.mp4} -c copy",
    "ten-bit-hevc.mp4": f"{VIDEO} -pix_fmt yuv422p10le -c:v libx265 -g 15 -x265-params log-level=error",
    "frames-dropped.avi": f"{VIDEO} {AUDIO} {UNEVEN} -c:v mjpeg -c:a pcm_s16le",
    "sound.dv": "-f lavfi -i testsrc2=s=720x576:r=25:d=0.4 -f lavfi -i sine=r=48000:d=0.4 -pix_fmt yuv420p -ac 2",
    "cover.mp4": "-i {sound.mp4} -f lavfi -i testsrc2=s=64x64:d=0.04 -map 0 -map 1 -c:v:0 copy -c:a copy -c:v:1 mjpeg "
    "-disposition:v:1 attached_pic",
    "no-duration.webm": "-i {sound.webm} -c copy -live 1",
    "vfr-sound.mp4": f"{VIDEO} {AUDIO} {UNEVEN} -c:v libx264 -g 15 -bf 2 -c:a aac",
    "vfr-sound.mkv": f"{VIDEO} {AUDIO} {UNEVEN} -c:v libx264 -g 15 -bf 2 -c:a flac",
    "late-sound.mkv": "-itsoffset 7 -i {sound.ts} -c copy -copyts",
    "late-sound.mp4": "-itsoffset 7 -i {sound.ts} -c copy -copyts",
    "open-gop-hevc-sound.mp4": f"{VIDEO} {AUDIO} {X265_OPEN} -c:a aac",
    "wide-pixels.mp4": f"{VIDEO} -vf setsar=16/11 {X264_OPEN}",
}

# The videos of tests/media that matter for segments.
TRIED_DEFECTS = (
    "vfr.mp4 vfr.mkv edit-list.mp4 non-zero-start.mkv open-gop-h264.ts open-gop-hevc.mp4 "
    "intra-refresh.mp4 cut-in-open-gop.ts mpeg2-without-b-frames.mpg mpeg2-interlaced.ts "
    "mpeg4-b-frames.avi h264-without-times.avi hidden-frames.webm superframes.webm odd-size.mp4 "
    "ten-bit-full-range.mkv two-in-one.ts"
).split()


@pytest.fixture(scope="session")
def make_video(tmp_path_factory: pytest.TempPathFactory, defect: Callable[[str], Path]) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("kinds")

    def make(name: str) -> Path:
        if name in DEFECTS:
            return defect(name)
        path = folder / name
        if not path.exists():
            words = KINDS[name].split()
            run_ffmpeg(*(str(make(word[1:-1])) if word.startswith("{") else word for word in words), str(path))
        return path

    return make


@functools.cache
def decode_video(path: Path) -> list[tuple[int | None, str]]:
    """Return (pts, digest of the stored pixels) of each frame, from a full decode."""
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        return [(frame.pts, hash_frame(frame)) for frame in container.decode(stream)]


@pytest.fixture(scope="session")
def decode_frames() -> Callable[[Path], list[tuple[int | None, str]]]:
    return decode_video
