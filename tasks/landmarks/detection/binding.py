"""Bindings to MediaPipe's C library, without its Python package.

Importing the package costs 1.2 s of CPU and 110 MB (it loads matplotlib and an audio library), routes every call
through an extra thread, and creates an object for each of the 553 landmarks per frame. Its library exports a plain C
interface. This module declares the part that detects landmarks, as in mediapipe 1.2 (``mediapipe/tasks/c/**/*.h``); the
tests compare every structure with the package's declarations.
"""

from __future__ import annotations

import ctypes
import importlib.util
import platform
from contextlib import suppress
from ctypes import POINTER, byref, c_bool, c_char_p, c_float, c_int, c_int64, c_uint, c_uint8, c_uint32, c_void_p
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tasks.engine.contract.errors import RunError
from tasks.landmarks.points import ModelKind
from tasks.landmarks.sequence import RgbImage

SUPPORTED = "1.2"
_M_ARENA_MAX = -8  # malloc.h
_SRGB = 1  # MpImageFormat: three bytes per pixel, red first
_LIBRARIES = {"Linux": "libmediapipe.so", "Darwin": "libmediapipe.dylib", "Windows": "libmediapipe.dll"}
_PACKAGES = {"libEGL.so.1": "libegl1", "libGLESv2.so.2": "libgles2"}  # Debian and Ubuntu


class MpNormalizedLandmarkC(ctypes.Structure):
    """A point; x and y are shares of the image size."""

    _fields_ = (
        ("x", c_float),
        ("y", c_float),
        ("z", c_float),
        ("has_visibility", c_bool),
        ("visibility", c_float),
        ("has_presence", c_bool),
        ("presence", c_float),
        ("name", c_char_p),
    )


class MpNormalizedLandmarksC(ctypes.Structure):
    """The points of one part of one person."""

    _fields_ = (("landmarks", POINTER(MpNormalizedLandmarkC)), ("landmarks_count", c_uint32))


class MpCategoryC(ctypes.Structure):
    """A label and its score."""

    _fields_ = (("index", c_int), ("score", c_float), ("category_name", c_char_p), ("display_name", c_char_p))


class MpCategoriesC(ctypes.Structure):
    """Labels, sorted by decreasing score."""

    _fields_ = (("categories", POINTER(MpCategoryC)), ("categories_count", c_uint32))


class _UnreadListC(ctypes.Structure):
    """A list whose elements this module does not read."""

    _fields_ = (("elements", c_void_p), ("elements_count", c_uint32))


class MpHolisticLandmarkerResultC(ctypes.Structure):
    """Landmarks of one person."""

    _fields_ = (
        ("face_landmarks", MpNormalizedLandmarksC),
        ("pose_landmarks", MpNormalizedLandmarksC),
        ("pose_world_landmarks", _UnreadListC),
        ("left_hand_landmarks", MpNormalizedLandmarksC),
        ("right_hand_landmarks", MpNormalizedLandmarksC),
        ("left_hand_world_landmarks", _UnreadListC),
        ("right_hand_world_landmarks", _UnreadListC),
        ("face_blendshapes", _UnreadListC),
        ("pose_segmentation_mask", c_void_p),
    )


class MpHandLandmarkerResultC(ctypes.Structure):
    """Detected hands; ``handedness`` and ``hand_landmarks`` have the same order."""

    _fields_ = (
        ("handedness", POINTER(MpCategoriesC)),
        ("handedness_count", c_uint32),
        ("hand_landmarks", POINTER(MpNormalizedLandmarksC)),
        ("hand_landmarks_count", c_uint32),
        ("hand_world_landmarks", c_void_p),
        ("hand_world_landmarks_count", c_uint32),
    )


class MpPoseLandmarkerResultC(ctypes.Structure):
    """Detected poses."""

    _fields_ = (
        ("segmentation_masks", c_void_p),
        ("segmentation_masks_count", c_uint32),
        ("pose_landmarks", POINTER(MpNormalizedLandmarksC)),
        ("pose_landmarks_count", c_uint32),
        ("pose_world_landmarks", c_void_p),
        ("pose_world_landmarks_count", c_uint32),
    )


class MpFaceLandmarkerResultC(ctypes.Structure):
    """Detected faces."""

    _fields_ = (
        ("face_landmarks", POINTER(MpNormalizedLandmarksC)),
        ("face_landmarks_count", c_uint32),
        ("face_blendshapes", c_void_p),
        ("face_blendshapes_count", c_uint32),
        ("facial_transformation_matrixes", c_void_p),
        ("facial_transformation_matrixes_count", c_uint32),
    )


class MpBaseOptionsC(ctypes.Structure):
    """The model file and the device that runs it."""

    _fields_ = (
        ("model_asset_buffer", c_char_p),
        ("model_asset_buffer_count", c_uint),
        ("model_asset_path", c_char_p),
        ("file_descriptor", c_int),
        ("delegate", c_int),
        ("host_environment", c_int),
        ("host_system", c_int),
        ("host_version", c_char_p),
        ("ca_bundle_path", c_char_p),
        ("app_id", c_char_p),
        ("app_version", c_char_p),
    )


class MpHolisticLandmarkerOptionsC(ctypes.Structure):
    """Options of HolisticLandmarker. ``result_callback`` is for live streams only, here and below."""

    _fields_ = (
        ("base_options", MpBaseOptionsC),
        ("running_mode", c_int),
        ("min_face_detection_confidence", c_float),
        ("min_face_suppression_threshold", c_float),
        ("min_face_landmarks_confidence", c_float),
        ("min_pose_detection_confidence", c_float),
        ("min_pose_suppression_threshold", c_float),
        ("min_pose_landmarks_confidence", c_float),
        ("min_hand_landmarks_confidence", c_float),
        ("output_face_blendshapes", c_bool),
        ("output_segmentation_masks", c_bool),
        ("result_callback", c_void_p),
    )


class MpHandLandmarkerOptionsC(ctypes.Structure):
    """Options of HandLandmarker."""

    _fields_ = (
        ("base_options", MpBaseOptionsC),
        ("running_mode", c_int),
        ("num_hands", c_int),
        ("min_hand_detection_confidence", c_float),
        ("min_hand_presence_confidence", c_float),
        ("min_tracking_confidence", c_float),
        ("result_callback", c_void_p),
    )


class MpPoseLandmarkerOptionsC(ctypes.Structure):
    """Options of PoseLandmarker."""

    _fields_ = (
        ("base_options", MpBaseOptionsC),
        ("running_mode", c_int),
        ("num_poses", c_int),
        ("min_pose_detection_confidence", c_float),
        ("min_pose_presence_confidence", c_float),
        ("min_tracking_confidence", c_float),
        ("output_segmentation_masks", c_bool),
        ("result_callback", c_void_p),
    )


class MpFaceLandmarkerOptionsC(ctypes.Structure):
    """Options of FaceLandmarker."""

    _fields_ = (
        ("base_options", MpBaseOptionsC),
        ("running_mode", c_int),
        ("num_faces", c_int),
        ("min_face_detection_confidence", c_float),
        ("min_face_presence_confidence", c_float),
        ("min_tracking_confidence", c_float),
        ("output_face_blendshapes", c_bool),
        ("output_facial_transformation_matrixes", c_bool),
        ("result_callback", c_void_p),
    )


@dataclass(frozen=True)
class TaskType:
    """One of MediaPipe's landmarkers: the name in its functions, and their structures."""

    name: str
    options: type[ctypes.Structure]
    result: type[ctypes.Structure]


TASK_TYPES: dict[ModelKind, TaskType] = {
    "holistic": TaskType("HolisticLandmarker", MpHolisticLandmarkerOptionsC, MpHolisticLandmarkerResultC),
    "hands": TaskType("HandLandmarker", MpHandLandmarkerOptionsC, MpHandLandmarkerResultC),
    "pose": TaskType("PoseLandmarker", MpPoseLandmarkerOptionsC, MpPoseLandmarkerResultC),
    "face": TaskType("FaceLandmarker", MpFaceLandmarkerOptionsC, MpFaceLandmarkerResultC),
}


class MediaPipeError(RuntimeError):
    """An error that the library reports, with the library's message."""


@cache
def load_library() -> ctypes.CDLL:
    """Load the library, once per process.

    Raises RunError if mediapipe is missing, if it has another version than this module supports, or if a system library
    is missing.
    """
    spec = importlib.util.find_spec("mediapipe")  # finds the folder without importing the package
    if spec is None or spec.origin is None:
        raise RunError(f"mediapipe is not installed; install it: pip install 'mediapipe>={SUPPORTED},<1.3'")
    _check_version(metadata.version("mediapipe"))
    file = Path(spec.origin).parent / "tasks" / "c" / _LIBRARIES.get(platform.system(), "libmediapipe.so")
    try:
        loaded = ctypes.CDLL(str(file))
    except OSError as error:
        raise RunError(_explain_load_error(str(error))) from error
    _declare(loaded)
    _use_one_arena()
    return loaded


def _use_one_arena() -> None:
    """Make all threads allocate from one memory arena (glibc only).

    Each graph starts threads with their own arenas, which never shrink: over 60 graphs a process grew by 28 MB, with
    one arena by 2 MB.
    """
    if platform.system() == "Linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _check_version(version: str) -> None:
    """Raise RunError for another version: its structures may have another layout, which would not raise any error."""
    if version.split(".")[:2] != SUPPORTED.split("."):
        command = f"pip install 'mediapipe>={SUPPORTED},<1.3'"
        raise RunError(f"mediapipe is {version}; the landmarks need {SUPPORTED}; install it: {command}")


def _explain_load_error(error: str) -> str:
    """Return a one-line message for the loader's ``error``, with the packages to install."""
    missing = next((name for name in _PACKAGES if name in error), None)
    if missing is None:
        return f"mediapipe's library cannot be loaded: {error}; install mediapipe again"
    packages = " ".join(_PACKAGES.values())
    return f"mediapipe needs {missing}, which this system does not have; install it: apt-get install {packages}"


def _declare(loaded: ctypes.CDLL) -> None:
    """Declare to ctypes the arguments of every function that this module calls."""
    message = POINTER(c_char_p)
    pixels = POINTER(c_uint8)
    _declare_function(
        loaded, "MpImageCreateFromUint8Data", c_int, c_int, c_int, pixels, c_int, POINTER(c_void_p), message
    )
    _declare_function(loaded, "MpImageFree", c_void_p, returns=None)
    _declare_function(loaded, "MpErrorFree", c_void_p, returns=None)
    for task in TASK_TYPES.values():
        result = POINTER(task.result)
        _declare_function(loaded, f"Mp{task.name}Create", POINTER(task.options), POINTER(c_void_p), message)
        _declare_function(loaded, f"Mp{task.name}DetectImage", c_void_p, c_void_p, c_void_p, result, message)
        _declare_function(
            loaded, f"Mp{task.name}DetectForVideo", c_void_p, c_void_p, c_void_p, c_int64, result, message
        )
        _declare_function(loaded, f"Mp{task.name}CloseResult", result, returns=None)
        _declare_function(loaded, f"Mp{task.name}Close", c_void_p, message)


def _declare_function(loaded: ctypes.CDLL, name: str, *arguments: Any, returns: Any = c_int) -> None:
    function = getattr(loaded, name)
    function.argtypes = arguments
    function.restype = returns


def call(name: str, *arguments: Any) -> None:
    """Call a function that returns a status and takes a message pointer last. Raises MediaPipeError."""
    loaded = load_library()
    message = c_char_p()
    status = getattr(loaded, name)(*arguments, byref(message))
    text = message.value.decode("utf-8", "replace") if message.value else ""
    if message.value is not None:
        loaded.MpErrorFree(message)
    if status != 0:
        raise MediaPipeError(text or f"{name} failed with status {status}")


class MediaPipeImage:
    """The library's copy of an image, freed at the end of the ``with`` block."""

    def __init__(self, image: RgbImage) -> None:
        """Copy ``image``: uint8 [height, width, 3], RGB, contiguous or not. Raises ValueError for other arrays."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            given = f"{image.dtype} {list(image.shape)}"
            raise ValueError(f"an image must be uint8 [height, width, 3], not empty; given: {given}")
        image = np.ascontiguousarray(image)
        height, width = image.shape[:2]
        self.pointer = c_void_p()
        pixels = image.ctypes.data_as(POINTER(c_uint8))
        call("MpImageCreateFromUint8Data", _SRGB, width, height, pixels, image.size, byref(self.pointer))

    def __enter__(self) -> c_void_p:
        return self.pointer

    def __exit__(self, *_: object) -> None:
        load_library().MpImageFree(self.pointer)
