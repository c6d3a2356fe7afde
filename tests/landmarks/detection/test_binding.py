"""Our declarations of the C interface, compared with mediapipe's, and the values that both give.

`package` imports mediapipe like its users. Every comparison is exact: the same library, model and frames.
"""

import ctypes
import importlib
import importlib.util
import sys
import warnings
from importlib import metadata

import numpy as np
import pytest

from tasks.engine.contract.errors import RunError
from tasks.landmarks.detection import binding
from tasks.landmarks.detection.graph import _DELEGATES, _MODES, _THRESHOLDS
from tasks.landmarks.detection.handedness import SIDES
from tasks.landmarks.points import SKELETONS

BEGIN_MILLISECONDS = 1
MODULES = {
    "holistic": "holistic_landmarker",
    "hands": "hand_landmarker",
    "pose": "pose_landmarker",
    "face": "face_landmarker",
}
CONTAINERS = {
    "MpNormalizedLandmarkC": "landmark_c",
    "MpNormalizedLandmarksC": "landmark_c",
    "MpCategoryC": "category_c",
    "MpCategoriesC": "category_c",
}


@pytest.fixture(scope="module")
def package():
    """Import modules of ``mediapipe.tasks.python`` by their dotted name."""

    def import_module(name):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(f"mediapipe.tasks.python.{name}")

    return import_module


def describe_layout(structure):
    """Return names, offsets and sizes of the fields, and the total size."""
    fields = [(name, getattr(structure, name)) for name, *_ in structure._fields_]
    return [(name, field.offset, field.size) for name, field in fields], ctypes.sizeof(structure)


@pytest.mark.parametrize("kind", MODULES)
def test_options_and_results_have_mediapipes_layout(package, kind):
    module, task = package(f"vision.{MODULES[kind]}"), binding.TASK_TYPES[kind]
    for structure in (task.options, task.result):
        assert describe_layout(structure) == describe_layout(getattr(module, structure.__name__))


@pytest.mark.parametrize("name", CONTAINERS)
def test_points_and_labels_have_mediapipes_layout(package, name):
    theirs = getattr(package(f"components.containers.{CONTAINERS[name]}"), name)
    assert describe_layout(getattr(binding, name)) == describe_layout(theirs)


def test_base_options_have_mediapipes_layout_and_delegates(package):
    assert describe_layout(binding.MpBaseOptionsC) == describe_layout(package("core.base_options_c").MpBaseOptionsC)
    base = package("core.base_options").BaseOptions
    assert base(model_asset_path="x", delegate=base.Delegate.GPU).to_ctypes().delegate == _DELEGATES["gpu"]
    assert base(model_asset_path="x").to_ctypes().delegate == _DELEGATES["cpu"]


@pytest.mark.parametrize("kind", MODULES)
def test_functions_have_mediapipes_signatures(package, kind):
    signatures = {signature.func_name: signature for signature in package(f"vision.{MODULES[kind]}")._CTYPES_SIGNATURES}
    loaded, name = binding.load_library(), binding.TASK_TYPES[kind].name
    for operation in ("Create", "DetectImage", "DetectForVideo", "CloseResult", "Close"):
        theirs, ours = signatures[f"Mp{name}{operation}"], getattr(loaded, f"Mp{name}{operation}")
        assert [ctypes.sizeof(argument) for argument in ours.argtypes] == [ctypes.sizeof(a) for a in theirs.argtypes]
        assert ours.restype == theirs.restype


@pytest.mark.parametrize("kind", MODULES)
def test_thresholds_are_mediapipes_defaults(package, kind):
    name = binding.TASK_TYPES[kind].name
    defaults = getattr(package(f"vision.{MODULES[kind]}"), f"{name}Options")(base_options=None)
    ours = dict(_THRESHOLDS[kind])
    assert ours.pop("num_hands", 2) == 2  # theirs is 1
    assert ours == {field: getattr(defaults, field) for field in ours}
    names = {field for field, *_ in binding.TASK_TYPES[kind].options._fields_ if field.startswith(("min_", "num_"))}
    assert set(_THRESHOLDS[kind]) == names


def run_package(package, kind, model, frames):
    """Return float32 [frames, points, 4] from mediapipe's own classes."""
    vision, images = package("vision"), package("vision.core.image")
    assert {mode.name.lower(): mode.ctype for mode in vision.RunningMode if mode.name.lower() in _MODES} == _MODES
    name = binding.TASK_TYPES[kind].name
    more = {"num_hands": 2} if kind == "hands" else {}
    base = package("core.base_options").BaseOptions(model_asset_path=str(model))
    options = getattr(vision, f"{name}Options")(base_options=base, running_mode=vision.RunningMode.VIDEO, **more)
    rows = []
    with getattr(vision, name).create_from_options(options) as landmarker:
        for number, frame in enumerate(frames):
            image = images.Image(images.ImageFormat.SRGB, np.ascontiguousarray(frame))
            rows.append(convert_result(kind, landmarker.detect_for_video(image, BEGIN_MILLISECONDS + 40 * number)))
    return np.stack(rows)


def convert_result(kind, result):
    points = np.full((SKELETONS[kind].points, 4), np.nan, np.float32)
    for part, landmarks in list_parts(kind, result).items():
        for number, point in zip(
            range(*SKELETONS[kind].find_part(part).span.indices(len(points))), landmarks, strict=True
        ):
            points[number] = point.x, point.y, point.z, 1 if point.visibility is None else point.visibility
    return points


def list_parts(kind, result):
    if kind == "holistic":
        landmarks_by_part = {part.name: getattr(result, part.name) for part in SKELETONS[kind].parts}
    elif kind == "hands":
        sides = [SIDES[labels[0].category_name.lower()] for labels in result.handedness]
        assert len(set(sides)) == len(sides)
        landmarks_by_part = dict(zip(sides, result.hand_landmarks, strict=True))
    else:
        persons = getattr(result, f"{kind}_landmarks")
        landmarks_by_part = {f"{kind}_landmarks": persons[0]} if persons else {}
    return {part: landmarks for part, landmarks in landmarks_by_part.items() if landmarks}


@pytest.mark.parametrize("kind", MODULES)
@pytest.mark.parametrize("clip", ["selfie", "squats"])
def test_landmarks_equal_those_of_mediapipes_classes(package, clips, models, landmarkers, kind, clip):
    landmarker = landmarkers(kind)
    ours = np.stack([landmarker.detect(frame, 40 * number) for number, frame in enumerate(clips[clip])])
    assert np.isfinite(ours).any() or (kind, clip) == ("face", "squats")  # too small there
    np.testing.assert_array_equal(ours, run_package(package, kind, models[kind], clips[clip]))


@pytest.fixture
def uncached_load():
    """Return the uncached ``load_library``, like in a new process."""
    return binding.load_library.__wrapped__


def test_missing_mediapipe_gives_the_install_command(uncached_load, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        RunError, match=r"^mediapipe is not installed; install it: pip install 'mediapipe>=1\.2,<1\.3'$"
    ):
        uncached_load()


@pytest.mark.parametrize("version", ["0.10.21", "1.1.9", "1.3.0", "1.20.0", "2.2.0"])
def test_other_mediapipe_version_is_not_loaded(uncached_load, monkeypatch, version):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    with pytest.raises(RunError, match=rf"^mediapipe is {version}; the landmarks need 1\.2; install it: pip "):
        uncached_load()


@pytest.mark.parametrize("missing", ["libEGL.so.1", "libGLESv2.so.2"])
def test_missing_system_library_is_named_with_its_package(uncached_load, monkeypatch, missing):
    def load(path):
        raise OSError(f"{missing}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", load)
    with pytest.raises(RunError, match=f"^mediapipe needs {missing}.*: apt-get install libegl1 libgles2$"):
        uncached_load()


def test_damaged_library_is_reported_with_the_loaders_message(uncached_load, monkeypatch, tmp_path):
    (tmp_path / "mediapipe" / "tasks" / "c").mkdir(parents=True)
    (tmp_path / "mediapipe" / "__init__.py").touch()
    (tmp_path / "mediapipe" / "tasks" / "c" / "libmediapipe.so").write_bytes(b"\x7fELF")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "mediapipe", raising=False)
    with pytest.raises(
        RunError, match=r"cannot be loaded: .*libmediapipe\.so: file too short; install mediapipe again"
    ):
        uncached_load()


def test_library_error_has_the_librarys_message():
    with pytest.raises(binding.MediaPipeError, match=r"\w+ \w+"):
        binding.call("MpImageCreateFromUint8Data", 99, 1, 1, None, 3, ctypes.byref(ctypes.c_void_p()))
