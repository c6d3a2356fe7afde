"""A network as it is run: loaded once in a process, and kept."""

from __future__ import annotations

import functools
import os
import sys

import ncnn
import numpy as np
from numpy.typing import NDArray

from tasks.media.segments.errors import SegmentError
from tasks.restoration.engines.neural.weights import Device, Weights, digest_of

Planes = NDArray[np.float32]

# The number of the device to run on, whatever the engine says.
GPU_VARIABLE = "HEADRACE_GPU"
# Numbers the slots of a run, each a process of its own.
_SLOT_VARIABLE = "HEADRACE_SLOT"


class Network:
    """``weights`` on one device. Raises SegmentError where it cannot be loaded there."""

    def __init__(self, weights: Weights, device: Device, gpu: int, threads: int) -> None:
        self._weights = weights
        self._net = ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.opt.use_vulkan_compute = device == "vulkan"
        if device == "vulkan":
            self._net.set_vulkan_device(gpu)
        self._load()

    def run(self, planes: Planes) -> Planes:
        """(3, height, width) between 0 and 1, ``scale`` times as large. Raises SegmentError."""
        # ncnn's Mat does not keep the array alive that it looks at, wants its rows in one piece, and works on it in
        # place.
        given = np.ascontiguousarray(planes)
        extractor = self._net.create_extractor()
        extractor.input(self._weights.input_blob, ncnn.Mat(given).clone())
        code, made = extractor.extract(self._weights.output_blob)
        if code != 0:
            size = f"{planes.shape[2]}x{planes.shape[1]}"
            raise SegmentError(f"{self._weights.name} failed on a tile of {size} ({code}): is there memory for it?")
        return np.array(made, dtype=np.float32)

    def _load(self) -> None:
        weights = self._weights
        try:
            digest = digest_of(weights.param, weights.model)
        except OSError as error:
            raise SegmentError(f"the weights {weights.name} cannot be read: {error.strerror or error}") from error
        if digest != weights.digest:
            raise SegmentError(f"the weights {weights.name} have changed since the run began")
        if self._net.load_param(str(weights.param)) != 0 or self._net.load_model(str(weights.model)) != 0:
            raise SegmentError(f"ncnn cannot load the weights {weights.name}")


def open_network(weights: Weights, device: Device, gpu_index: int | None, threads: int) -> Network:
    """The network, kept for the next item of this process. Raises SegmentError."""
    return _kept(weights, device, _gpu(gpu_index) if device == "vulkan" else 0, threads)


@functools.lru_cache(maxsize=2)
def _kept(weights: Weights, device: Device, gpu: int, threads: int) -> Network:
    return Network(weights, device, gpu, threads)


def _gpu(wanted: int | None) -> int:
    """The device: that of GPU_VARIABLE, else the wanted one, else the one whose turn it is by the slot's number."""
    count = ncnn.get_gpu_count()
    said = os.environ.get(GPU_VARIABLE, "")
    slot = int(os.environ.get(_SLOT_VARIABLE, "0"))
    gpu = int(said) if said.isdecimal() else slot % max(count, 1) if wanted is None else wanted
    if gpu >= count:
        raise SegmentError(
            f"Vulkan has no device {gpu} here, but {count}: set {GPU_VARIABLE}, or choose the device cpu"
        )
    sys.stderr.write(f"network on {ncnn.get_gpu_info(gpu).device_name()}\n")
    return gpu
