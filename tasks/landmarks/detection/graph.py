"""One landmarker of MediaPipe: built, fed with pictures, closed."""

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
    library,
)
from tasks.landmarks.params import Device
from tasks.landmarks.points import ModelKind
from tasks.landmarks.sequence import Picture

Mode = Literal["image", "video"]
_MODES: Mapping[Mode, int] = {"image": 1, "video": 2}
_DELEGATES: Mapping[Device, int] = {"cpu": 1, "gpu": 2}
# MediaPipe's own defaults.
_HALF_SURE = 0.5
_PERSON = ("face_detection", "face_landmarks", "pose_detection", "pose_landmarks", "hand_landmarks")
_THRESHOLDS: Mapping[ModelKind, Mapping[str, float | int]] = {
    "holistic": {
        **{f"min_{what}_confidence": _HALF_SURE for what in _PERSON},
        **{f"min_{what}_suppression_threshold": _HALF_SURE for what in ("face", "pose")},
    },
    "hands": {
        "num_hands": 2,
        **{f"min_{what}_confidence": _HALF_SURE for what in ("hand_detection", "hand_presence", "tracking")},
    },
    "pose": {
        "num_poses": 1,
        **{f"min_{what}_confidence": _HALF_SURE for what in ("pose_detection", "pose_presence", "tracking")},
    },
    "face": {
        "num_faces": 1,
        **{f"min_{what}_confidence": _HALF_SURE for what in ("face_detection", "face_presence", "tracking")},
    },
}


class Graph:
    """A landmarker: in ``video`` mode it follows what it sees from frame to frame, in ``image`` mode it does not."""

    def __init__(self, kind: ModelKind, model: Path | BinaryIO, device: Device, mode: Mode = "video") -> None:
        """``model`` is the .task file, or the same opened, for those who build several graphs of one and the same.

        Raises RunError where it cannot be loaded as that kind, or not on that device.
        """
        self._task = TASK_TYPES[kind]
        self._handle = c_void_p()
        with opened(kind, model) if isinstance(model, Path) else nullcontext(model) as file:
            self._start(kind, file, device, mode)

    def _start(self, kind: ModelKind, model: BinaryIO, device: Device, mode: Mode) -> None:
        base = MpBaseOptionsC(file_descriptor=model.fileno(), delegate=_DELEGATES[device])
        options = self._task.options(base_options=base, running_mode=_MODES[mode], **_THRESHOLDS[kind])
        library()
        try:
            call(f"Mp{self._task.name}Create", byref(options), byref(self._handle))
        except MediaPipeError as error:
            raise _cannot_load(kind, model.name, device, str(error)) from error

    @contextmanager
    def detect(self, picture: Picture, milliseconds: int) -> Iterator[Any]:
        """The C structure of what is found in ``picture``, of a video; it is freed at the end of the ``with``.

        ``milliseconds`` must rise from call to call. Raises MediaPipeError.
        """
        with self._result("DetectForVideo", picture, milliseconds) as result:
            yield result

    @contextmanager
    def detect_alone(self, picture: Picture) -> Iterator[Any]:
        """The same of a picture by itself, in ``image`` mode."""
        with self._result("DetectImage", picture) as result:
            yield result

    @contextmanager
    def _result(self, function: str, picture: Picture, *more: int) -> Iterator[Any]:
        result = self._task.result()
        with MediaPipeImage(picture) as image:
            call(f"Mp{self._task.name}{function}", self._handle, image, None, *more, byref(result))
        try:
            yield result
        finally:
            getattr(library(), f"Mp{self._task.name}CloseResult")(byref(result))

    def close(self) -> None:
        """End its threads and free its memory; a second time does nothing."""
        handle, self._handle = self._handle, c_void_p()
        if handle:
            call(f"Mp{self._task.name}Close", handle)


def opened(kind: ModelKind, model: Path) -> BinaryIO:
    """The model's file. Raises RunError where it cannot be opened."""
    try:
        return model.open("rb")
    except OSError as error:
        raise _cannot_load(kind, str(model), "cpu", error.strerror or str(error)) from error


def _cannot_load(kind: ModelKind, model: str, device: Device, error: str) -> RunError:
    """One line that names the file or the device."""
    reason = " ".join(error.split())
    if device == "gpu" and "gpu" in reason.lower():
        reason = reason.rpartition("cannot be created: ")[2]  # before that stands the name of a node of the graph
        advice = "use --device cpu, or a machine with an OpenGL ES 3.1 driver for its GPU"
        return RunError(f"--device gpu: MediaPipe finds no GPU that it can use: {reason.rstrip('.')}; {advice}")
    advice = f"give a .task file of MediaPipe's {TASK_TYPES[kind].name}"
    return RunError(f"the model {model} cannot be loaded as {kind}: {reason.rstrip('.')}; {advice}")
