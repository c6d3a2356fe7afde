"""What a ``.task`` file holds: a zip of ``.tflite`` networks, by whose names MediaPipe itself goes."""

from __future__ import annotations

import errno
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from tasks.landmarks.points import ModelKind

# What MediaPipe's graphs of each kind open in a bundle. The first kind that has all of its own is the bundle's.
NEEDED: Mapping[ModelKind, frozenset[str]] = {
    "holistic": frozenset(
        {
            "face_detector.tflite",
            "face_landmarks_detector.tflite",
            "hand_landmarks_detector.tflite",
            "hand_roi_refinement.tflite",
            "pose_detector.tflite",
            "pose_landmarks_detector.tflite",
        }
    ),
    "hands": frozenset({"hand_detector.tflite", "hand_landmarks_detector.tflite"}),
    "pose": frozenset({"pose_detector.tflite", "pose_landmarks_detector.tflite"}),
    "face": frozenset({"face_detector.tflite", "face_landmarks_detector.tflite"}),
}
_MOST_NAMES = 10
_MAX_ENTRIES = 1000
_MAX_UNPACKED_BYTES = 256 << 20  # the largest official model has 31 MiB
# What zipfile raises for damage. RuntimeError: encrypted, or, as NotImplementedError, a compression not known here.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError)


class NotAModel(Exception):
    """A file that is no bundle, a damaged one, or one for something else. Its message says which."""


def bundle_kind(path: Path) -> ModelKind:
    """The kind of the bundle at ``path``. Raises NotAModel, and OSError where the file cannot be read."""
    names = _sound_names(path)
    kind = next((kind for kind, needed in NEEDED.items() if needed <= names), None)
    if kind is None:
        held = ", ".join([*sorted(names)[:_MOST_NAMES], *(["..."] if len(names) > _MOST_NAMES else [])])
        raise NotAModel(f"is a bundle of another kind; it holds {held or 'nothing'}")
    return kind


def _check_size(bundle: zipfile.ZipFile) -> None:
    """Raise NotAModel if the bundle says that it unpacks to more than any model; zipfile reads no more than it says."""
    entries = bundle.infolist()
    if len(entries) > _MAX_ENTRIES:
        raise NotAModel(f"is no bundle of networks: it holds {len(entries):,} files")
    size = sum(entry.file_size for entry in entries)
    if size > _MAX_UNPACKED_BYTES:
        raise NotAModel(
            f"is no bundle of networks: it unpacks to {size >> 20:,} MiB; models have at most"
            f" {_MAX_UNPACKED_BYTES >> 20} MiB"
        )


def _sound_names(path: Path) -> set[str]:
    """The names in the bundle, of which each one's content was read and fits its checksum."""
    try:
        with zipfile.ZipFile(path) as bundle:
            _check_size(bundle)
            damaged = bundle.testzip()
            names = set(bundle.namelist())
    except _DAMAGE as error:
        raise NotAModel(f"is no bundle of networks ({' '.join(str(error).split()) or type(error).__name__})") from error
    except OSError as error:
        if error.errno not in {None, errno.EINVAL}:  # bz2 gives none; EINVAL: an offset in it is negative
            raise
        raise NotAModel(f"is no bundle of networks ({error.strerror or error})") from error
    if damaged is not None:
        raise NotAModel(f"is damaged: {damaged} in it does not fit its checksum")
    return names
