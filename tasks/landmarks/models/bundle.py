"""Bundles (``.task`` files): zip archives of ``.tflite`` networks. MediaPipe identifies the networks by name."""

from __future__ import annotations

import errno
import lzma
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from tasks.landmarks.points import ModelKind

# Networks that MediaPipe's graph of each kind opens. A bundle has the first kind whose networks it contains.
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
_MAX_NAMES = 10
_MAX_ENTRIES = 1000
_MAX_UNPACKED_BYTES = 256 << 20  # the largest official model has 31 MiB
# Exceptions of zipfile for damaged files. RuntimeError: encrypted; NotImplementedError (its subclass): compression.
_DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, RuntimeError, ValueError)


class NotAModel(Exception):
    """A file that is not a bundle, is damaged, or has another purpose. The message says which."""


def detect_bundle_kind(path: Path) -> ModelKind:
    """Return the kind of the bundle at ``path``. Raises NotAModel, and OSError if the file cannot be read."""
    names = _read_names(path)
    kind = next((kind for kind, needed in NEEDED.items() if needed <= names), None)
    if kind is None:
        listed = ", ".join([*sorted(names)[:_MAX_NAMES], *(["..."] if len(names) > _MAX_NAMES else [])])
        raise NotAModel(f"is a bundle of another kind; it contains {listed or 'no files'}")
    return kind


def _check_size(bundle: zipfile.ZipFile) -> None:
    """Raise NotAModel if the declared unpacked size is larger than any model; zipfile reads no more than declared."""
    entries = bundle.infolist()
    if len(entries) > _MAX_ENTRIES:
        raise NotAModel(f"is not a bundle of networks: it contains {len(entries):,} files")
    size = sum(entry.file_size for entry in entries)
    if size > _MAX_UNPACKED_BYTES:
        raise NotAModel(
            f"is not a bundle of networks: it unpacks to {size >> 20:,} MiB; models have at most"
            f" {_MAX_UNPACKED_BYTES >> 20} MiB"
        )


def _read_names(path: Path) -> set[str]:
    """Return the names in the bundle after checking all checksums. Raises NotAModel, OSError."""
    try:
        with zipfile.ZipFile(path) as bundle:
            _check_size(bundle)
            damaged = bundle.testzip()
            names = set(bundle.namelist())
    except _DAMAGE as error:
        raise NotAModel(
            f"is not a bundle of networks ({' '.join(str(error).split()) or type(error).__name__})"
        ) from error
    except OSError as error:
        if error.errno not in {None, errno.EINVAL}:  # bz2 sets no errno; EINVAL: a negative offset
            raise
        raise NotAModel(f"is not a bundle of networks ({error.strerror or error})") from error
    if damaged is not None:
        raise NotAModel(f"is damaged: the checksum of {damaged} does not match")
    return names
