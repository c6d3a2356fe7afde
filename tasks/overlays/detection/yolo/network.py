"""Any YOLO network that was exported as ONNX, run by onnxruntime: from a picture to boxes."""

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
from tasks.media.orientation import Picture
from tasks.overlays.detection.yolo.outputs import Detections, Head, UnknownOutputs, read_outputs

if TYPE_CHECKING:
    import onnxruntime

Device = Literal["cpu", "gpu"]
_OPTION = "--model"
_EXPORT = "export it again, as in: yolo export model=best.pt format=onnx"
_ALLOWED = "a YOLO detection model (v5 to v11) as ONNX"
_USUAL_PX = 640
_USUAL_STRIDE = 32
_LARGEST_PX = 4096
_GREY = 114  # what YOLO is trained with around pictures of another shape
_GPU = ("CUDAExecutionProvider", "ROCMExecutionProvider", "DmlExecutionProvider", "CoreMLExecutionProvider")
_TYPES: Mapping[str, type[np.float32 | np.float16]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class UnusableModel(HeadraceError):
    """The model cannot be used; ``problem`` says why."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(str(problem))


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says of itself.

    name           of its input
    dtype          of its input: float32 or float16
    batch          pictures that go in at once
    width_px, height_px   of its input; ``None`` where any will do
    stride         of which free sizes must be multiples
    largest_px     the longer side of a picture, where sizes are free
    names          what classes are called; empty where it does not say
    rows           it gives boxes, not candidates; ``None`` where it does not say
    """

    name: str
    dtype: type[np.float32 | np.float16]
    batch: int
    width_px: int | None
    height_px: int | None
    stride: int = _USUAL_STRIDE
    largest_px: int = _USUAL_PX
    names: Mapping[int, str] = field(default_factory=dict)
    rows: bool | None = None


@dataclass(frozen=True)
class Letterbox:
    """How a picture is fitted into a network's input: scaled, and grey around it.

    left, top       where it begins
    width, height   of the scaled picture
    """

    left: int
    top: int
    width: int
    height: int
    input_width: int
    input_height: int

    def fill(self, picture: Picture) -> Picture:
        """``picture``, height x width x 3, so fitted."""
        size = (self.width, self.height)
        scaled = picture if picture.shape[1::-1] == size else cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
        filled = np.full((self.input_height, self.input_width, 3), _GREY, np.uint8)
        filled[self.top : self.top + self.height, self.left : self.left + self.width] = scaled
        return filled

    def undo(self, found: Detections, width_px: int, height_px: int) -> Detections:
        """Boxes in pixels of the picture, whose size is given, cut at its edges; those beside it are left out."""
        shift = np.array([self.left, self.top] * 2, np.float32)
        scale = np.array([width_px / self.width, height_px / self.height] * 2, np.float32)
        limits = np.array([width_px, height_px] * 2, np.float32)
        boxes = np.clip((found.boxes - shift) * scale, 0, limits)
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        return Detections(np.asarray(boxes, np.float32), found.scores, found.classes).chosen(inside)


def letterbox(width_px: int, height_px: int, info: ModelInfo) -> Letterbox:
    """How a picture of that size goes into the network: as large as it fits, in the middle, as YOLO is trained.

    Where the network takes any size, its longer side becomes ``info.largest_px`` and there is no more grey than needed.
    """
    stride = info.stride
    room_x, room_y = info.width_px or info.largest_px, info.height_px or info.largest_px
    scale = min(room_x / width_px, room_y / height_px)
    width, height = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    across = info.width_px or -(-width // stride) * stride
    down = info.height_px or -(-height // stride) * stride
    # An odd rest lies right and below, as where the networks come from: round(rest / 2 - 0.1).
    return Letterbox((across - width) // 2, (down - height) // 2, width, height, across, down)


class Network:
    """A model, ready to look at pictures. Raises UnusableModel where it is none."""

    def __init__(self, path: Path, device: Device = "cpu", size_px: int | None = None) -> None:
        """``size_px``: the longer side of pictures where the model takes any size; as exported where not given."""
        self.path = path
        self._session = _open_session(path, device)
        self.info = _info(self._session, path, size_px)

    def detect(self, picture: Picture, score: float, iou: float) -> Detections:
        """Boxes in pixels of ``picture`` (uint8, height x width x 3, red, green, blue) that score at least ``score``.

        Of those that overlap by more than ``iou``, the best is kept.
        """
        height, width = picture.shape[:2]
        fit = letterbox(width, height, self.info)
        head = Head(len(self.info.names) or None, self.info.rows, fit.input_width, fit.input_height)
        outputs = self._run(fit.fill(picture))
        try:
            return fit.undo(read_outputs(outputs, head, score, iou), width, height)
        except UnknownOutputs as error:
            given = f"{self.path.name} has {error}"
            raise UnusableModel(Problem(_OPTION, given, _ALLOWED, _EXPORT)) from error

    def _run(self, filled: Picture) -> Sequence[npt.NDArray[np.generic]]:
        pixels = filled.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)
        batch = np.repeat(pixels, self.info.batch, axis=0).astype(self.info.dtype)
        try:
            outputs: list[npt.NDArray[np.generic]] = self._session.run(None, {self.info.name: batch})
        except _failures() as error:
            given = f"{self.path.name} fails on a picture of {filled.shape[1]}x{filled.shape[0]} ({_line(error)})"
            raise UnusableModel(Problem(_OPTION, given, _ALLOWED, _EXPORT)) from error
        return outputs


def model_problems(path: Path, device: Device = "cpu", classes: Sequence[str] = ()) -> list[Problem]:
    """What is wrong with the model at ``path``, which is tried on a grey picture; or with ``classes``, by name."""
    try:
        network = Network(path, device)
        size = (network.info.height_px or 64, network.info.width_px or 64, 3)
        network.detect(np.full(size, _GREY, np.uint8), 0.5, 0.5)
    except UnusableModel as error:
        return [error.problem]
    names = sorted(network.info.names.values())
    unknown = [name for name in classes if name not in names]
    known = shorten(", ".join(names)) if names else "none, as the model names no classes"
    return [Problem("--classes", shorten(name), known, "take one of these") for name in unknown]


def _open_session(path: Path, device: Device) -> onnxruntime.InferenceSession:
    try:
        import onnxruntime
    except ImportError as error:
        given = f"onnxruntime cannot be imported ({error})"
        advice = "pip install 'headrace[yolo]', or onnxruntime-gpu for a GPU"
        raise UnusableModel(Problem("--detector", given, "yolo where it is installed", advice)) from error
    _refuse_file(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # slots share the cores
    options.log_severity_level = 4
    providers = _providers(device, onnxruntime.get_available_providers())
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except _failures() as error:
        given = f"{shorten(str(path))} is no ONNX model that can be run ({_line(error)})"
        raise UnusableModel(Problem(_OPTION, given, _ALLOWED, _EXPORT)) from error
    _refuse_fallback(providers, session.get_providers())
    return session


def _refuse_fallback(wanted: Sequence[str], used: Sequence[str]) -> None:
    """Raises UnusableModel where onnxruntime has gone back to the CPU without an error, as where CUDA is missing."""
    if len(wanted) > 1 and not set(wanted[:-1]).intersection(used):
        given = f"gpu, and {wanted[0]} does not start here"
        raise UnusableModel(Problem("--device", given, "cpu, or gpu where its driver is", "check its driver and CUDA"))


def _refuse_file(path: Path) -> None:
    """Raises UnusableModel for what onnxruntime need not even try."""
    shown = shorten(str(path))
    if not path.is_file():
        given = f"{shown} is {'a folder' if path.is_dir() else 'not there'}"
        raise UnusableModel(Problem(_OPTION, given, _ALLOWED, "check the path"))
    if path.suffix.lower() in {".pt", ".pth", ".engine", ".tflite", ".safetensors"}:
        raise UnusableModel(Problem(_OPTION, f"{shown} is a {path.suffix} file", _ALLOWED, _EXPORT))


def _providers(device: Device, available: Sequence[str]) -> list[str]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    chosen = [name for name in _GPU if name in available]
    if not chosen:
        given = "gpu, and the onnxruntime that is installed knows none"
        raise UnusableModel(Problem("--device", given, "cpu, or gpu with its onnxruntime", "install onnxruntime-gpu"))
    return [*chosen, "CPUExecutionProvider"]


def _failures() -> tuple[type[Exception], ...]:
    """The exceptions of onnxruntime, which have no base of their own, and what its Python part raises."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    found = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return (*found, ValueError, RuntimeError)


def _line(error: Exception) -> str:
    """What the error says, in one line without onnxruntime's codes and paths of its source."""
    text = " ".join(str(error).split())
    return text.rpartition(" : ")[2][:160]


def _info(session: onnxruntime.InferenceSession, path: Path, size_px: int | None) -> ModelInfo:
    """What the model says of itself. Raises UnusableModel where it takes anything but pictures."""
    inputs = session.get_inputs()
    shape: list[Any] = inputs[0].shape if inputs else []
    fixed = [size if isinstance(size, int) and size > 0 else None for size in shape]
    told = session.get_modelmeta().custom_metadata_map
    if len(inputs) != 1 or len(fixed) != 4 or fixed[1] not in {3, None} or inputs[0].type not in _TYPES:
        takes = ", ".join(f"{one.type} {'x'.join(map(str, one.shape))}" for one in inputs)
        given = f"{path.name} takes {takes or 'nothing'}, not pictures as 1x3xHEIGHTxWIDTH of float or float16"
        raise UnusableModel(Problem(_OPTION, given, _ALLOWED, _EXPORT))
    if told.get("task", "detect") not in {"detect", "segment", "pose"}:
        given = f"{path.name} is a model for {shorten(told['task'])}"
        raise UnusableModel(Problem(_OPTION, given, _ALLOWED, "give one that was trained to detect or to segment"))
    return ModelInfo(
        name=inputs[0].name,
        dtype=_TYPES[inputs[0].type],
        batch=fixed[0] or 1,
        width_px=fixed[3],
        height_px=fixed[2],
        stride=_stride(told),
        largest_px=size_px or _largest(told),
        names=_names(told),
        rows=_gives_rows(told),
    )


def _literal(told: Mapping[str, str], name: str) -> object:
    """The Python literal that the entry holds, as ultralytics writes them; None where it holds none."""
    try:
        return ast.literal_eval(told.get(name, ""))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _names(told: Mapping[str, str]) -> dict[int, str]:
    found = _literal(told, "names")
    pairs = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list | tuple) else ()
    return {number: str(name) for number, name in pairs if isinstance(number, int)}


def _stride(told: Mapping[str, str]) -> int:
    found = _literal(told, "stride")
    return found if isinstance(found, int) and 1 <= found <= 256 else _USUAL_STRIDE


def _largest(told: Mapping[str, str]) -> int:
    found = _literal(told, "imgsz")
    sizes = found if isinstance(found, list | tuple) else [found]
    usable = [size for size in sizes if isinstance(size, int) and 32 <= size <= _LARGEST_PX]
    return max(usable, default=_USUAL_PX)


def _gives_rows(told: Mapping[str, str]) -> bool | None:
    """Whether ultralytics' exporter made it give boxes, not candidates."""
    arguments = _literal(told, "args")
    if told.get("end2end") == "True" or (isinstance(arguments, dict) and arguments.get("nms") is True):
        return True
    return False if "end2end" in told else None
