"""Looks at graphics cards and unknown networks, in a process of its own: a broken one can end no other.

    probe.py gpus
    probe.py network PARAM BIN

Writes one line of JSON. Run as a file, it imports nothing of the project.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import ncnn
import numpy as np
from numpy.typing import NDArray

Planes = NDArray[np.float32]

_TINY_PX, _SMALL_PX, _LARGE_PX = 16, 48, 160
# What half a code of 8 bits is: a difference below it is not seen in what is written.
_HALF_CODE = 0.5 / 255


class ProbeError(Exception):
    """The network is none that enlarges pictures; the message says why, in one clause."""


def count_gpus() -> dict[str, int]:
    """How many devices Vulkan offers, software ones among them."""
    return {"gpus": ncnn.get_gpu_count()}


def probe_network(param: str, model: str) -> dict[str, object]:
    """The blobs of the network, by how much it enlarges, what it needs and how far it looks. Raises ProbeError."""
    net = _loaded(param, model)
    if len(net.input_names()) != 1 or len(net.output_names()) != 1:
        given = f"inputs {', '.join(net.input_names())} and outputs {', '.join(net.output_names())}"
        raise ProbeError(f"it has {given} instead of one of each")
    blobs = net.input_names()[0], net.output_names()[0]
    scale = _scale(_run(net, blobs, _mosaic(_TINY_PX)), _TINY_PX)
    peak = _peak_bytes(lambda: _run(net, blobs, _mosaic(_SMALL_PX)))
    whole = _mosaic(_LARGE_PX)
    bytes_each = (_peak_bytes(lambda: _run(net, blobs, whole)) - peak) / (_LARGE_PX**2 - _SMALL_PX**2)
    halo = _halo(_run(net, blobs, whole), _run(net, blobs, whole[:, :, : _LARGE_PX // 2]), scale)
    return {"input": blobs[0], "output": blobs[1], "scale": scale, "halo_px": halo, "bytes_per_px": bytes_each}


def _loaded(param: str, model: str) -> ncnn.Net:
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_vulkan_compute = False
    if net.load_param(param) != 0:
        raise ProbeError("ncnn cannot read its .param file")
    if net.load_model(model) != 0:
        raise ProbeError("ncnn cannot read its .bin file")
    return net


def _run(net: ncnn.Net, blobs: tuple[str, str], planes: Planes) -> Planes:
    # ncnn's Mat does not keep the array alive that it looks at, wants its rows in one piece, and works on it in place.
    given = np.ascontiguousarray(planes)
    extractor = net.create_extractor()
    extractor.input(blobs[0], ncnn.Mat(given).clone())
    code, made = extractor.extract(blobs[1])
    if code != 0:
        raise ProbeError("it fails on a small RGB picture")
    return np.array(made, dtype=np.float32)


def _mosaic(side_px: int) -> Planes:
    """Squares of greys with a little noise: some networks break on noise alone, and on colours that none has seen."""
    random = np.random.default_rng(side_px)
    squares = np.kron(random.uniform(0.2, 0.8, (1, side_px // 8, side_px // 8)), np.ones((3, 8, 8)))
    return np.ascontiguousarray(squares + random.normal(0, 0.02, squares.shape), dtype=np.float32)


def _scale(made: Planes, side_px: int) -> int:
    scale = int(made.shape[-1]) // side_px
    if scale < 1 or made.shape != (3, side_px * scale, side_px * scale):
        shape = "x".join(map(str, made.shape))
        raise ProbeError(f"of a picture of 3x{side_px}x{side_px} it makes one of {shape}, which is no multiple of it")
    return scale


def _peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that this process has ever had, after ``work``."""
    work()
    status = Path("/proc/self/status")
    if status.is_file():  # what getrusage says there, a child has from its parent
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _halo(whole: Planes, half: Planes, scale: int) -> int:
    """How many pixels off a cut a picture is as if it were not cut: to half a code."""
    differences = np.abs(whole[:, :, : half.shape[2]] - half).max(axis=(0, 1))
    [touched] = np.nonzero(differences > _HALF_CODE)
    cut_px = int(half.shape[2])
    return -(-(cut_px - int(touched[0])) // scale) if len(touched) else 0


def main(words: list[str]) -> int:
    """Answer ``words``; the exit code."""
    try:
        answer: Mapping[str, object] = count_gpus() if words == ["gpus"] else probe_network(*words[1:])
    except ProbeError as error:
        answer = {"problem": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
