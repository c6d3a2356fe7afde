"""Running the readers on a video, and judging the frames that they return."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.video_conformance.reference import TOLERANCE, Reference, measure_distance, shrink

READERS_FILE = Path(__file__).with_name("readers.py")
TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Verdict:
    """Results of one reader on one video.

    exact     requested frames; those of Headrace are bit-identical to the full decode
    wrong     other frames, or garbage, returned without an error
    refused   frames that the reader reports as not readable
    error     one line if the reader rejects the whole file, crashes or times out; else empty
    """

    exact: int = 0
    wrong: int = 0
    refused: int = 0
    error: str = ""

    @property
    def text(self) -> str:
        """The verdict as a cell of the table."""
        if self.error:
            return "rejected" if self.error not in {"crash", "timeout"} else self.error
        parts = [f"**{self.wrong} wrong**"] if self.wrong else []
        parts += [f"{self.refused} refused"] if self.refused else []
        parts += [f"{self.exact} exact"] if self.exact else []
        return ", ".join(parts)


class Reader:
    """One reader in a separate process, which is restarted after a crash or a timeout."""

    def __init__(self, name: str, python: Path, variables: Mapping[str, str]) -> None:
        self.name = name
        self._command = [str(python), str(READERS_FILE), name]
        self._environment = {**os.environ, **variables, "OMP_NUM_THREADS": "1"}
        self._process: subprocess.Popen[str] | None = None

    def judge(self, path: Path, reference: Reference) -> Verdict:
        """Request the reference's chosen frames from ``path`` and compare them."""
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "frames.npz"
            request = {"indices": reference.chosen, "seconds": reference.seconds, "path": str(path)}
            reply = self._request(request | {"target": str(target)})
            if reply["error"]:
                return Verdict(error=reply["error"])
            with np.load(target) as arrays:
                images = {int(name): arrays[name] for name in arrays.files}
        return _count_frames(reply["readable"], images, reference, is_exact=self.name == "Headrace")

    def close(self) -> None:
        """Terminate the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            line = process.stdout.readline() if selector.select(TIMEOUT_SECONDS) else None
        if not line:
            self.close()
            return {"error": "timeout" if line is None else "crash"}
        return dict(json.loads(line))

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self._environment,
        )
        return self._process


def _count_frames(readable: list[bool], images: Mapping[int, Any], reference: Reference, is_exact: bool) -> Verdict:
    exact = wrong = 0
    for place, index in enumerate(reference.chosen):
        if not readable[place]:
            continue
        image = images[place]
        if np.array_equal(image, reference.images[index]) if is_exact else _is_frame(image, index, reference):
            exact += 1
        else:
            wrong += 1
    return Verdict(exact, wrong, readable.count(False))


def _is_frame(image: Any, index: int, reference: Reference) -> bool:
    """Return True if the image is close to the frame at ``index`` and not clearly closer to another frame."""
    small = shrink(image)
    own = measure_distance(small, reference.thumbs[index])
    others = reference.thumbs[max(0, index - 60) : index + 60]
    return own < TOLERANCE and own <= min(measure_distance(small, other) for other in others) + 0.3
