"""One MediaPipe landmarker: build it, detect in images, close it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from ctypes import byref, c_void_p
from pathlib import Path
from typing import Any, BinaryIO, Literal

from tasks.engine.contract.errors import RunError
from tasks.landmarks.detection.binding import (
    TASK_TYPES,
    MediaPipeError,
    MediaPipeImage,
    MpBaseOptionsC,
    call,
    load_library,
)
from tasks.landmarks.params import Device
from tasks.landmarks.points import ModelKind
from tasks.landmarks.sequence import RgbImage

Mode = Literal["image", "video"]
_MODES: Mapping[Mode, int] = {"image": 1, "video": 2}
_DELEGATES: Mapping[Device, int] = {"cpu": 1, "gpu": 2}
# MediaPipe's defaults.
_DEFAULT_CONFIDENCE = 0.5
_HOLISTIC_STEPS = ("face_detection", "face_landmarks", "pose_detection", "pose_landmarks", "hand_landmarks")
_THRESHOLDS: Mapping[ModelKind, Mapping[str, float | int]] = {
    "holistic": {
        **{f"min_{step}_confidence": _DEFAULT_CONFIDENCE for step in _HOLISTIC_STEPS},
        **{f"min_{step}_suppression_threshold": _DEFAULT_CONFIDENCE for step in ("face", "pose")},
    },
    "hands": {
        "num_hands": 2,
        **{f"min_{step}_confidence": _DEFAULT_CONFIDENCE for step in ("hand_detection", "hand_presence", "tracking")},
    },
    "pose": {
        "num_poses": 1,
        **{f"min_{step}_confidence": _DEFAULT_CONFIDENCE for step in ("pose_detection", "pose_presence", "tracking")},
    },
    "face": {
        "num_faces": 1,
        **{f"min_{step}_confidence": _DEFAULT_CONFIDENCE for step in ("face_detection", "face_presence", "tracking")},
    },
}


class Graph:
    """A landmarker. In ``video`` mode it tracks from frame to frame, in ``image`` mode it does not."""

    def __init__(self, kind: ModelKind, model: Path | BinaryIO, device: Device, mode: Mode = "video") -> None:
        """Build the graph from the .task file ``model``, or from the open file, to build several graphs from it.

        Raises RunError if it cannot be loaded as that kind or on that device.
        """
        self._task = TASK_TYPES[kind]
        self._handle = c_void_p()
        with open_model(kind, model) if isinstance(model, Path) else nullcontext(model) as file:
            self._start(kind, file, device, mode)

    def _start(self, kind: ModelKind, model: BinaryIO, device: Device, mode: Mode) -> None:
        base = MpBaseOptionsC(file_descriptor=model.fileno(), delegate=_DELEGATES[device])
        options = self._task.options(base_options=base, running_mode=_MODES[mode], **_THRESHOLDS[kind])
        load_library()
        try:
            call(f"Mp{self._task.name}Create", byref(options), byref(self._handle))
        except MediaPipeError as error:
            raise _create_load_error(kind, model.name, device, str(error)) from error

    @contextmanager
    def detect(self, image: RgbImage, milliseconds: int) -> Iterator[Any]:
        """Yield the C structure of the detections in a video frame; it is freed at the end of the ``with`` block.

        ``milliseconds`` must increase from call to call. Raises MediaPipeError.
        """
        with self._call_detector("DetectForVideo", image, milliseconds) as result:
            yield result

    @contextmanager
    def detect_image(self, image: RgbImage) -> Iterator[Any]:
        """Yield the C structure of the detections in a single image (``image`` mode). Raises MediaPipeError."""
        with self._call_detector("DetectImage", image) as result:
            yield result

    @contextmanager
    def _call_detector(self, function: str, image: RgbImage, *more: int) -> Iterator[Any]:
        result = self._task.result()
        with MediaPipeImage(image) as pointer:
            call(f"Mp{self._task.name}{function}", self._handle, pointer, None, *more, byref(result))
        try:
            yield result
        finally:
            getattr(load_library(), f"Mp{self._task.name}CloseResult")(byref(result))

    def close(self) -> None:
        """Stop the graph's threads and free its memory. Calling it twice is safe."""
        handle, self._handle = self._handle, c_void_p()
        if handle:
            call(f"Mp{self._task.name}Close", handle)


def open_model(kind: ModelKind, model: Path) -> BinaryIO:
    """Open the model's file. Raises RunError if it cannot be opened."""
    try:
        return model.open("rb")
    except OSError as error:
        raise _create_load_error(kind, str(model), "cpu", error.strerror or str(error)) from error


def _create_load_error(kind: ModelKind, model: str, device: Device, error: str) -> RunError:
    """Return a one-line error that names the file or the device."""
    reason = " ".join(error.split())
    if device == "gpu" and "gpu" in reason.lower():
        reason = reason.rpartition("cannot be created: ")[2]  # the rest is the name of a graph node
        advice = "use --device cpu, or a machine with an OpenGL ES 3.1 driver for its GPU"
        return RunError(f"--device gpu: MediaPipe found no usable GPU: {reason.rstrip('.')}; {advice}")
    advice = f"use a .task file of MediaPipe's {TASK_TYPES[kind].name}"
    return RunError(f"the model {model} cannot be loaded as {kind}: {reason.rstrip('.')}; {advice}")
