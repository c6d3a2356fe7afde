"""Probe graphics cards and unknown networks in a separate process, which a broken network may crash.

    probe.py gpus
    probe.py network PARAM BIN

It writes one line of JSON. It runs as a file and imports no module of the project.
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
# Half an 8-bit code: smaller differences do not change the written frame.
_HALF_CODE = 0.5 / 255


class ProbeError(Exception):
    """The network cannot upscale images; the message is the reason in one clause."""


def count_gpus() -> dict[str, int]:
    """Return the number of Vulkan devices, software ones included."""
    return {"gpus": ncnn.get_gpu_count()}


def probe_network(param: str, model: str) -> dict[str, object]:
    """Return the blobs of the network, its scale, its memory and its halo. Raises ProbeError."""
    net = _load(param, model)
    if len(net.input_names()) != 1 or len(net.output_names()) != 1:
        blob_names = f"inputs {', '.join(net.input_names())} and outputs {', '.join(net.output_names())}"
        raise ProbeError(f"it has {blob_names} instead of one of each")
    blobs = net.input_names()[0], net.output_names()[0]
    scale = _measure_scale(_run(net, blobs, _make_mosaic(_TINY_PX)), _TINY_PX)
    peak = _measure_peak_bytes(lambda: _run(net, blobs, _make_mosaic(_SMALL_PX)))
    whole = _make_mosaic(_LARGE_PX)
    bytes_each = (_measure_peak_bytes(lambda: _run(net, blobs, whole)) - peak) / (_LARGE_PX**2 - _SMALL_PX**2)
    halo = _measure_halo(_run(net, blobs, whole), _run(net, blobs, whole[:, :, : _LARGE_PX // 2]), scale)
    return {"input": blobs[0], "output": blobs[1], "scale": scale, "halo_px": halo, "bytes_per_px": bytes_each}


def _load(param: str, model: str) -> ncnn.Net:
    net = ncnn.Net()
    net.opt.num_threads = 1
    net.opt.use_vulkan_compute = False
    if net.load_param(param) != 0:
        raise ProbeError("ncnn cannot read its .param file")
    if net.load_model(model) != 0:
        raise ProbeError("ncnn cannot read its .bin file")
    return net


def _run(net: ncnn.Net, blobs: tuple[str, str], planes: Planes) -> Planes:
    # ncnn's Mat does not keep its array alive, needs contiguous rows and is modified in place.
    contiguous = np.ascontiguousarray(planes)
    extractor = net.create_extractor()
    extractor.input(blobs[0], ncnn.Mat(contiguous).clone())
    code, output = extractor.extract(blobs[1])
    if code != 0:
        raise ProbeError("it fails on a small RGB image")
    return np.array(output, dtype=np.float32)


def _make_mosaic(side_px: int) -> Planes:
    """Return gray squares with a little noise; some networks fail on pure noise and on unusual colors."""
    random = np.random.default_rng(side_px)
    squares = np.kron(random.uniform(0.2, 0.8, (1, side_px // 8, side_px // 8)), np.ones((3, 8, 8)))
    return np.ascontiguousarray(squares + random.normal(0, 0.02, squares.shape), dtype=np.float32)


def _measure_scale(output: Planes, side_px: int) -> int:
    scale = int(output.shape[-1]) // side_px
    if scale < 1 or output.shape != (3, side_px * scale, side_px * scale):
        shape = "x".join(map(str, output.shape))
        raise ProbeError(f"it turns an image of 3x{side_px}x{side_px} into {shape}, which is not a multiple of it")
    return scale


def _measure_peak_bytes(work: Callable[[], object]) -> int:
    """Return the peak memory of this process after ``work``."""
    work()
    status = Path("/proc/self/status")
    if status.is_file():  # on Linux, a child inherits the value of getrusage from its parent
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) * 1024
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _measure_halo(whole: Planes, half: Planes, scale: int) -> int:
    """Return the distance from a cut, in pixels, beyond which the result is the same to half a code."""
    differences = np.abs(whole[:, :, : half.shape[2]] - half).max(axis=(0, 1))
    [touched] = np.nonzero(differences > _HALF_CODE)
    cut_px = int(half.shape[2])
    return -(-(cut_px - int(touched[0])) // scale) if len(touched) else 0


def main(arguments: list[str]) -> int:
    """Print the answer to ``arguments`` and return the exit code."""
    try:
        answer: Mapping[str, object] = count_gpus() if arguments == ["gpus"] else probe_network(*arguments[1:])
    except ProbeError as error:
        answer = {"problem": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
