"""Make a video with three marks: a logo, a mark that shall stay, and a mark that no detector finds."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np

from examples.demo_data import find_clip

SIZE = 320, 180
LOGO = (256, 14, 41, 32)  # left, top, width, height
STAYS = (24, 138, 41, 32)
HIDDEN = (140, 80, 40, 24)
_SMALL = "scale=320:180:flags=bicubic,setsar=1,format=yuv420p"
# The letters H and I: left, top, width, height of each bar.
_BARS = [(0, 0, 7, 32), (7, 12, 12, 7), (19, 0, 7, 32), (34, 0, 7, 32)]
HIDDEN_START = 150  # its first frame


def make_clips(folder: Path, frames: int = 250) -> tuple[Path, Path]:
    """Return the ground truth, which has the mark that stays, and the video with all marks; both are lossless."""
    stays = [draw((STAYS[0] + x, STAYS[1] + y, width, height), 0.5) for x, y, width, height in _BARS]
    logo = [draw((LOGO[0] + x, LOGO[1] + y, width, height), 0.5) for x, y, width, height in _BARS]
    hidden = [f"{draw(HIDDEN, 0.9)}:enable='gte(n,{HIDDEN_START})'"]
    truth, marked = folder / "truth.mp4", folder / "marked.mp4"
    encode([_SMALL, *stays], truth, frames)
    encode([_SMALL, *stays, *logo, *hidden], marked, frames)
    return truth, marked


def draw(box: tuple[int, ...], opacity: float) -> str:
    x, y, width, height = box
    return f"drawbox={x}:{y}:{width}:{height}:t=fill:color=white@{opacity}"


def encode(filters: list[str], target: Path, frames: int) -> None:
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i", str(find_clip("bikes.mp4"))]
    coded = ["-an", "-vf", ",".join(filters), "-frames:v", str(frames), "-c:v", "libx264", "-qp", "0", "-g", "25"]
    subprocess.run([*program, *coded, "-threads", "1", str(target)], check=True)


def read_luma(data: bytes) -> np.ndarray:
    """Return the luma of all frames: frames x height x width, int16."""
    with av.open(io.BytesIO(data)) as container:
        frames = [frame.to_ndarray()[: frame.height, : frame.width] for frame in container.decode(video=0)]
    return np.stack(frames).astype(np.int16)


def crop(frames: np.ndarray, box: tuple[int, int, int, int], margin: int = 0) -> np.ndarray:
    """Return the part of all frames in ``box``, with a margin."""
    x, y, width, height = box
    return frames[:, max(0, y - margin) : y + height + margin, max(0, x - margin) : x + width + margin]
