"""Runs YOLO networks in ONNX format with onnxruntime: an image in, boxes out."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from tasks.engine.contract.errors import HeadraceError, Problem
from tasks.engine.contract.manifest import shorten
from tasks.media.orientation import ImageArray
from tasks.overlays.detection.yolo.outputs import Detections, Head, UnknownOutputs, read_outputs

if TYPE_CHECKING:
    import onnxruntime

Device = Literal["cpu", "gpu"]
_OPTION = "--model"
_EXPORT = "export it again, as in: yolo export model=best.pt format=onnx"
_ALLOWED = "a YOLO detection model (v5 to v11) as ONNX"
_DEFAULT_PX = 640
_DEFAULT_STRIDE = 32
_MAX_PX = 4096
_GRAY = 114  # padding color in YOLO's training
_GPU = ("CUDAExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider")
_TYPES: Mapping[str, type[np.float32 | np.float16]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class UnusableModel(HeadraceError):
    """The model cannot be used; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass(frozen=True)
class ModelInfo:
    """Properties of a model file.

    name           of its input
    dtype          of its input: float32 or float16
    batch          images per batch
    width_px, height_px   of its input; ``None`` if any size is accepted
    stride         free sizes must be multiples of it
    max_side_px    longer side of an image, if sizes are free
    names          names of classes; empty if unknown
    rows           it outputs boxes, not candidates; ``None`` if unknown
    """

    name: str
    dtype: type[np.float32 | np.float16]
    batch: int
    width_px: int | None
    height_px: int | None
    stride: int = _DEFAULT_STRIDE
    max_side_px: int = _DEFAULT_PX
    names: Mapping[int, str] = field(default_factory=dict)
    rows: bool | None = None


@dataclass(frozen=True)
class Letterbox:
    """The scaled image and the gray padding in a network's input.

    left, top       position of the image
    width, height   of the scaled image
    """

    left: int
    top: int
    width: int
    height: int
    input_width: int
    input_height: int

    def fill(self, image: ImageArray) -> ImageArray:
        """Return ``image`` (height x width x 3) scaled and padded."""
        size = (self.width, self.height)
        scaled = image if image.shape[1::-1] == size else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        filled = np.full((self.input_height, self.input_width, 3), _GRAY, np.uint8)
        filled[self.top : self.top + self.height, self.left : self.left + self.width] = scaled
        return filled

    def undo(self, detections: Detections, width_px: int, height_px: int) -> Detections:
        """Return boxes in pixels of the image, whose size is given, clipped to it; boxes outside are dropped."""
        shift = np.array([self.left, self.top] * 2, np.float32)
        scale = np.array([width_px / self.width, height_px / self.height] * 2, np.float32)
        limits = np.array([width_px, height_px] * 2, np.float32)
        boxes = np.clip((detections.boxes - shift) * scale, 0, limits)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Detections(np.asarray(boxes, np.float32), detections.scores, detections.classes).select(inside)


def fit_letterbox(width_px: int, height_px: int, info: ModelInfo) -> Letterbox:
    """Return the letterbox for an image of this size: as large as possible and centered, as in YOLO's training.

    If the network accepts any size, the longer side becomes ``info.max_side_px``, with minimal padding.
    """
    stride = info.stride
    room_x, room_y = info.width_px or info.max_side_px, info.height_px or info.max_side_px
    scale = min(room_x / width_px, room_y / height_px)
    width, height = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    across = info.width_px or -(-width // stride) * stride
    down = info.height_px or -(-height // stride) * stride
    # Odd padding is larger at the right and bottom, as in the original: round(padding / 2 - 0.1).
    return Letterbox((across - width) // 2, (down - height) // 2, width, height, across, down)


class Network:
    """An open model. Raises UnusableModel if the file is not one."""

    def __init__(self, path: Path, device: Device = "cpu", size_px: int | None = None) -> None:
        """Open the model; ``size_px``: longer side of images if it accepts any size (default: as exported)."""
        self.path = path
        self._session = _open_session(path, device)
        self.info = _read_info(self._session, path, size_px)

    def detect(self, image: ImageArray, score: float, iou: float) -> Detections:
        """Return boxes in pixels of ``image`` (uint8, height x width x 3, red, green, blue).

        They score at least ``score``. Of boxes that overlap by more than ``iou``, the best is kept.
        """
        height, width = image.shape[:2]
        fit = fit_letterbox(width, height, self.info)
        head = Head(len(self.info.names) or None, self.info.rows, fit.input_width, fit.input_height)
        outputs = self._run(fit.fill(image))
        try:
            return fit.undo(read_outputs(outputs, head, score, iou), width, height)
        except UnknownOutputs as error:
            given = f"{self.path.name} has {error}"
            raise UnusableModel(Problem(_OPTION, given, _ALLOWED, _EXPORT)) from error

    def _run(self, filled: ImageArray) -> Sequence[npt.NDArray[np.generic]]:
        pixels = filled.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        batch = np.repeat(pixels, self.info.batch, axis=0).astype(self.info.dtype)
        try:
            outputs: list[npt.NDArray[np.generic]] = self._session.run(None, {self.info.name: batch})
        except _list_errors() as error:
            given = (
                f"{self.path.name} fails on an image of {filled.shape[1]}x{filled.shape[0]} ({_shorten_error(error)})"
            )
            raise UnusableModel(Problem(_OPTION, given, _ALLOWED, _EXPORT)) from error
        return outputs


def check_model(path: Path, device: Device = "cpu", classes: Sequence[str] = ()) -> list[Problem]:
    """Return the problems of the model at ``path``, which is run on a gray image, and of ``classes``, by name."""
    try:
        network = Network(path, device)
        size = (network.info.height_px or 64, network.info.width_px or 64, 3)
        network.detect(np.full(size, _GRAY, np.uint8), 0.5, 0.5)
    except UnusableModel as error:
        return [error.problem]
    names = sorted(network.info.names.values())
    unknown = [name for name in classes if name not in names]
    allowed = shorten(", ".join(names)) if names else "none: the model names no classes"
    return [Problem("--classes", shorten(name), allowed, "choose from these") for name in unknown]


def _open_session(path: Path, device: Device) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        given = f"onnxruntime cannot be imported ({error})"
        advice = "pip install 'headrace[yolo]', or onnxruntime-gpu for a GPU"
        raise UnusableModel(Problem("--detector", given, "yolo, if it is installed", advice)) from error
    _refuse_file(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # slots share the cores
    options.log_severity_level = 4
    providers = _choose_providers(device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except _list_errors() as error:
        given = f"{shorten(str(path))} is not a usable ONNX model ({_shorten_error(error)})"
        raise UnusableModel(Problem(_OPTION, given, _ALLOWED, _EXPORT)) from error
    _refuse_fallback(providers, session.get_providers())
    return session


def _refuse_fallback(wanted: Sequence[str], used: Sequence[str]) -> None:
    """Raise UnusableModel if onnxruntime fell back to the CPU without an error, such as without CUDA."""
    if len(wanted) > 1 and not set(wanted[:-1]).intersection(used):
        given = f"gpu, but {wanted[0]} does not start"
        raise UnusableModel(Problem("--device", given, "cpu, or gpu with its driver", "check its driver and CUDA"))


def _refuse_file(path: Path) -> None:
    """Raise UnusableModel for files that are not ONNX models."""
    shown = shorten(str(path))
    if not path.is_file():
        given = f"{shown} is {'a folder' if path.is_dir() else 'missing'}"
        raise UnusableModel(Problem(_OPTION, given, _ALLOWED, "check the path"))
    if path.suffix.lower() in {".pt", ".pth", ".engine", ".tflite", ".safetensors"}:
        raise UnusableModel(Problem(_OPTION, f"{shown} is a {path.suffix} file", _ALLOWED, _EXPORT))


def _choose_providers(device: Device, available: Sequence[str]) -> list[str]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    select = [name for name in _GPU if name in available]
    if not select:
        given = "gpu, but the installed onnxruntime supports none"
        raise UnusableModel(Problem("--device", given, "cpu, or gpu with its onnxruntime", "install onnxruntime-gpu"))
    return [*select, "CPUExecutionProvider"]


def _list_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions of onnxruntime, which have no common base, and those of its Python code."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    errors = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*errors, ValueError, RuntimeError)


def _shorten_error(error: Exception) -> str:
    """Return the error's message in one line, without error codes and source paths."""
    text = " ".join(str(error).split())
    return text.rpartition(" : ")[2][:160]


def _read_info(session: onnxruntime.InferenceSession, path: Path, size_px: int | None) -> ModelInfo:
    """Return the properties of the model. Raises UnusableModel if its input is not an image."""
    inputs = session.get_inputs()
    shape: list[Any] = inputs[0].shape if inputs else []
    fixed = [size if isinstance(size, int) and size > 0 else None for size in shape]
    metadata = session.get_modelmeta().custom_metadata_map
    if len(inputs) != 1 or len(fixed) != 4 or fixed[1] not in {3, None} or inputs[0].type not in _TYPES:
        takes = ", ".join(f"{model_input.type} {'x'.join(map(str, model_input.shape))}" for model_input in inputs)
        given = f"{path.name} takes {takes or 'no input'}, not images as 1x3xHEIGHTxWIDTH of float or float16"
        raise UnusableModel(Problem(_OPTION, given, _ALLOWED, _EXPORT))
    if metadata.get("task", "detect") not in {"detect", "segment", "pose"}:
        given = f"{path.name} is a model for {shorten(metadata['task'])}"
        raise UnusableModel(Problem(_OPTION, given, _ALLOWED, "give a detection or segmentation model"))
    return ModelInfo(
        name=inputs[0].name,
        dtype=_TYPES[inputs[0].type],
        batch=fixed[0] or 1,
        width_px=fixed[3],
        height_px=fixed[2],
        stride=_read_stride(metadata),
        max_side_px=size_px or _read_size(metadata),
        names=_read_names(metadata),
        rows=_has_rows(metadata),
    )


def _read_literal(metadata: Mapping[str, str], name: str) -> object:
    """Return the Python literal of the metadata entry, as ultralytics writes them; None if it is not a literal."""
    try:
        return ast.literal_eval(metadata.get(name, ""))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _read_names(metadata: Mapping[str, str]) -> dict[int, str]:
    literal = _read_literal(metadata, "names")
    pairs = (
        literal.items()
        if isinstance(literal, dict)
        else enumerate(literal)
        if isinstance(literal, list | tuple)
        else ()
    )
    return {number: str(name) for number, name in pairs if isinstance(number, int)}


def _read_stride(metadata: Mapping[str, str]) -> int:
    literal = _read_literal(metadata, "stride")
    return literal if isinstance(literal, int) and 1 <= literal <= 256 else _DEFAULT_STRIDE


def _read_size(metadata: Mapping[str, str]) -> int:
    literal = _read_literal(metadata, "imgsz")
    sizes = literal if isinstance(literal, list | tuple) else [literal]
    usable = [size for size in sizes if isinstance(size, int) and 32 <= size <= _MAX_PX]
    return max(usable, default=_DEFAULT_PX)


def _has_rows(metadata: Mapping[str, str]) -> bool | None:
    """Return True if the exporter of ultralytics made it output boxes, not candidates."""
    arguments = _read_literal(metadata, "args")
    if metadata.get("end2end") == "True" or (isinstance(arguments, dict) and arguments.get("nms") is True):
        return True
    return False if "end2end" in metadata else None
