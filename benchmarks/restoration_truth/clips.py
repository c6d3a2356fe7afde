"""The real, progressive clips from which synthetic tapes are created, read at field rate.

Their 25 or 30 frames per second are played at 50 or 59.94, which gives real motion between fields (at double speed).
Presets were tuned on some of them; the others were evaluated afterwards only.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Literal

import imageio_ffmpeg
import numpy as np

from benchmarks.restoration_truth.degrade import LINES, WIDTH, Frames, Tape, degrade

FIELD_RATE = {"pal": Fraction(50), "ntsc": Fraction(60000, 1001)}
SD_MATRIX = {"pal": "bt470bg", "ntsc": "smpte170m"}
SAMPLE_ASPECT = {("pal", "16:9"): "64:45", ("pal", "4:3"): "16:15", ("ntsc", "16:9"): "32:27", ("ntsc", "4:3"): "8:9"}


@dataclass(frozen=True)
class Clip:
    """A piece of a clean video.

    shape    display aspect; the source is cropped to it
    matrix   color matrix of the source
    height   height for the comparison, in square pixels
    """

    name: str
    file: str
    start_frame: int
    standard: Literal["pal", "ntsc"]
    shape: Literal["16:9", "4:3"]
    matrix: Literal["bt709", "bt470bg"]
    height: int
    tuned_on: bool = False


CLIPS = (
    Clip("bigbuckbunny", "skv_bigbuckbunny.mp4", 0, "pal", "16:9", "bt709", 720, tuned_on=True),
    Clip("road", "dash_solidWhiteRight.mp4", 40, "pal", "16:9", "bt709", 720, tuned_on=True),
    Clip("chaplin", "mpy_chaplin.mp4", 100, "pal", "16:9", "bt470bg", 576, tuned_on=True),
    Clip("bikes", "skv_bikes.mp4", 60, "pal", "16:9", "bt470bg", 576),
    Clip("city", "kivy_cityCC0.mpg", 20, "pal", "16:9", "bt470bg", 576),
    Clip("box", "cv_box.mp4", 60, "ntsc", "4:3", "bt470bg", 480),
    Clip("carphone", "skv_carphone_pristine.mp4", 0, "ntsc", "4:3", "bt470bg", 480),
    Clip("slides", "v2d_test_video.mp4", 480, "ntsc", "16:9", "bt709", 720),
)


@dataclass(frozen=True)
class Sample:
    """A clip on tape: the tape file, and the clean file at field rate and the height for the comparison."""

    clip: Clip
    tape: Tape
    tape_file: Path
    clean_file: Path
    frames: int


def find_shared_folder() -> Path:
    """Return ``shared/data/video``, next to the checkout or in HEADRACE_SHARED. Raises SystemExit if it is missing."""
    shared = Path(os.environ.get("HEADRACE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    if not (shared / "data" / "video").is_dir():
        raise SystemExit("the clips must be in shared/ next to the checkout, or in HEADRACE_SHARED")
    return shared / "data" / "video"


def make_sample(clip: Clip, tape: Tape, name: str, fields: int, source: Path, folder: Path) -> Sample:
    """Record ``fields`` frames of ``clip`` on ``tape``, whose standard becomes the clip's; files go into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    tape = Tape(**{**vars(tape), "standard": clip.standard})
    tape_file, clean_file = folder / f"{clip.name}-{name}.mkv", folder / f"{clip.name}-clean.mkv"
    frames = _read(clip, fields, source)
    _write_tape(degrade(frames, tape), clip, tape, tape_file)
    _write_clean(clip, len(frames) // 2 * 2, source, clean_file)
    return Sample(clip, tape, tape_file, clean_file, len(frames) // 2)


def run_ffmpeg(arguments: list[str], data: bytes | None = None) -> tuple[bytes, str]:
    """Return the output and the messages of ffmpeg. Raises RuntimeError with its last messages if it fails."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-nostats", "-y", "-threads", "1", *arguments]
    process = subprocess.run(command, input=data, capture_output=True, check=False)
    messages = process.stderr.decode("utf-8", errors="replace")
    if process.returncode:
        raise RuntimeError(f"ffmpeg failed: {messages[-2000:]}")
    return process.stdout, messages


def _cut(clip: Clip, fields: int) -> str:
    """Return the filters that select and crop the frames of ``clip``."""
    end, (wide, high) = clip.start_frame + fields, clip.shape.split(":")
    crop = f"crop=w=min(iw\\,2*floor(ih*{wide}/{high}/2)):h=ih"
    if (clip.name, clip.shape) == ("box", "4:3"):
        crop = "null"
    return f"trim=start_frame={clip.start_frame}:end_frame={end},{crop}"


def _read(clip: Clip, fields: int, source: Path) -> Frames:
    """Return the frames to record: (N, 3, lines, 720), 4:4:4, limited range, in SD colors."""
    lines, matrix = LINES[clip.standard], SD_MATRIX[clip.standard]
    colours = f"in_color_matrix={clip.matrix}:out_color_matrix={matrix}:out_range=tv"
    scale = f"scale={WIDTH}:{lines}:flags=lanczos+accurate_rnd:{colours}"
    output = ["-f", "rawvideo", "-fps_mode", "passthrough", "-pix_fmt", "yuv444p", "-"]
    raw, _ = run_ffmpeg(["-i", str(source / clip.file), "-vf", f"{_cut(clip, fields)},{scale}", *output])
    return np.frombuffer(raw, np.uint8).reshape(-1, 3, lines, WIDTH)


def _write_tape(planes: tuple[Frames, Frames, Frames], clip: Clip, tape: Tape, target: Path) -> None:
    data = b"".join(plane.tobytes() for frame in zip(*planes, strict=True) for plane in frame)
    size, rate = f"{WIDTH}x{LINES[clip.standard]}", FIELD_RATE[clip.standard] / 2
    aspect = SAMPLE_ASPECT[clip.standard, clip.shape].replace(":", "/")
    matrix = SD_MATRIX[clip.standard]
    tags = f"setparams=field_mode={tape.field_order}:range=tv:colorspace={matrix}:color_primaries={matrix}"
    shape = ["-vf", f"{tags}:color_trc=smpte170m,setsar={aspect}", "-c:v", "ffv1", "-level", "3", str(target)]
    reading = ["-f", "rawvideo", "-pix_fmt", "yuv422p", "-s", size, "-r", str(rate), "-i", "-"]
    run_ffmpeg([*reading, *shape], data)


def _write_clean(clip: Clip, fields: int, source: Path, target: Path) -> None:
    """Write the clean frames in square pixels at the height for the comparison."""
    matrix = "bt709" if clip.height >= 720 else SD_MATRIX[clip.standard]
    colours = f"in_color_matrix={clip.matrix}:out_color_matrix={matrix}:out_range=tv"
    scale = f"scale={compute_width(clip)}:{clip.height}:flags=lanczos+accurate_rnd+full_chroma_int:{colours},setsar=1"
    video = f"{_cut(clip, fields)},{scale},format=yuv420p,settb=1/90000,setpts=N*TB/TB"
    run_ffmpeg(["-i", str(source / clip.file), "-vf", video, "-fps_mode", "passthrough", "-c:v", "ffv1", str(target)])


def compute_width(clip: Clip) -> int:
    """Return the width of the compared frames, as the chain computes it from the tape's pixels."""
    aspect = Fraction(SAMPLE_ASPECT[clip.standard, clip.shape].replace(":", "/"))
    return 2 * round(clip.height * Fraction(WIDTH, LINES[clip.standard]) * aspect / 2)
