"""Readers of the conformance table, and the process that runs one of them: ``python readers.py READER``.

The process reads requests from standard input, one JSON object per line: ``path``, ``indices`` of the frames, their
times as ``seconds``, and ``target``, a file for the frames. It answers each with one JSON object per line: ``readable``
(for each index true, or false if the reader reports that it cannot read the frame), and ``error`` (one line if it
rejects the file; else empty). The frames are written to ``target``: npz, one RGB array per frame, named after its place
in ``indices``. The readers of other projects run in another environment, so this module imports no other module of this
project at the top.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# An RGB image per place in the request; None for a frame that the reader reports as not readable.
Frames = Mapping[int, Any]


def read_headrace(path: Path, indices: Sequence[int], seconds: Sequence[float]) -> Frames:
    """Read with the stage of dataset_prep, by times; PNG, so that no pixel changes."""
    import cv2

    from tasks.engine.contract.items import Item
    from tasks.engine.contract.stage import Workspace
    from tasks.frames.params import FramesParams
    from tasks.frames.stage import FramesStage

    params = FramesParams(strategy="support", image_format="png", max_frames=len(indices), time_origin="first")
    payload = {"video": path.name, "samples": [{"id": "a", "support_seconds": list(seconds)}]}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        work = Workspace(root / "outputs", root / "scratch", root)
        result = FramesStage(params).run(Item("v", payload, (str(path),)), work)
        [sample] = result.detail["samples"]
        frames: dict[int, Any] = dict.fromkeys(range(len(indices)))
        for row in sample["frames"]:
            place = list(seconds).index(row["requested_seconds"])
            if row["frame_index"] == indices[place] and abs(row["actual_seconds"] - seconds[place]) < 1e-6:
                frames[place] = cv2.imread(str(work.outputs / row["path"]))[..., ::-1]
            else:  # the right frame with a wrong index or time is wrong too
                frames[place] = np.zeros((1, 1, 3), np.uint8)
    return frames


def read_opencv(path: Path, indices: Sequence[int], seconds: Sequence[float]) -> Frames:
    """Read with OpenCV by setting the position of each frame, like most scripts."""
    import cv2

    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        raise ValueError("cannot open the file")
    frames: dict[int, Any] = {}
    for place, index in enumerate(indices):
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        is_read, image = capture.read()
        frames[place] = image[..., ::-1] if is_read else None
    return frames


def read_decord(path: Path, indices: Sequence[int], seconds: Sequence[float]) -> Frames:
    """Read with decord, frame by frame, so that one bad frame does not lose the others."""
    import decord

    reader = decord.VideoReader(str(path), num_threads=1)
    return {place: _try_read(lambda index=index: reader[index].asnumpy()) for place, index in enumerate(indices)}


def read_torchcodec(path: Path, indices: Sequence[int], seconds: Sequence[float]) -> Frames:
    """Read with torchcodec with exact seeks, frame by frame."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(path), num_ffmpeg_threads=1, dimension_order="NHWC", seek_mode="exact")
    return {place: _try_read(lambda index=index: decoder[index].numpy()) for place, index in enumerate(indices)}


def read_pyav(path: Path, indices: Sequence[int], seconds: Sequence[float]) -> Frames:
    """Read with PyAV by the usual recipe: seek to the time at the average frame rate, and decode up to it."""
    import av

    frames: dict[int, Any] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for place, index in enumerate(indices):
            frames[place] = _try_read(lambda index=index: _seek(container, stream, index))
    return frames


def _seek(container: Any, stream: Any, index: int) -> Any:
    start = stream.start_time or 0
    pts = start + round(index / (stream.average_rate * stream.time_base))
    container.seek(pts, stream=stream)
    for frame in container.decode(stream):
        if frame.pts is not None and frame.pts >= pts:
            return frame.to_ndarray(format="rgb24")
    return None


def _try_read(read: Callable[[], Any]) -> Any:
    """Return the frame, or None if the reader raises an error for it."""
    try:
        return read()
    except Exception:  # noqa: BLE001 (errors of readers are results)
        return None


# Name in the table -> (module that must be importable, function).
READERS: dict[str, tuple[str, Callable[[Path, Sequence[int], Sequence[float]], Frames]]] = {
    "Headrace": ("av", read_headrace),
    "OpenCV": ("cv2", read_opencv),
    "decord": ("decord", read_decord),
    "torchcodec": ("torchcodec", read_torchcodec),
    "PyAV seek": ("av", read_pyav),
}


def answer(reader: str, request: Mapping[str, Any]) -> dict[str, Any]:
    """Carry out one request."""
    try:
        frames = READERS[reader][1](Path(request["path"]), request["indices"], request["seconds"])
    except Exception as error:  # noqa: BLE001 (as above)
        lines = str(error).strip().splitlines()
        return {"readable": [], "error": lines[0] if lines else type(error).__name__}
    arrays = {str(place): frame for place, frame in frames.items() if frame is not None}
    np.savez(request["target"], **arrays)
    return {"readable": [frames[place] is not None for place in range(len(request["indices"]))], "error": ""}


def main() -> None:
    """Answer requests until standard input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(sys.argv[1], json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    if sys.argv[1] == "Headrace":
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
