"""A network, loaded once per process and kept."""

from __future__ import annotations

import functools
import os
import sys

import ncnn
import numpy as np
from numpy.typing import NDArray

from tasks.media.segments.errors import SegmentError
from tasks.restoration.engines.neural.weights import Device, Weights, hash_weights

Planes = NDArray[np.float32]

# The number of the device; overrides the engine's.
GPU_VARIABLE = "HEADRACE_GPU"
# The device of the slot, which is one process; and the number of the slot.
_DEVICE_VARIABLE = "HEADRACE_VULKAN_DEVICE"
_SLOT_VARIABLE = "HEADRACE_SLOT"


class Network:
    """A network on one device. Raises SegmentError if it cannot be loaded there."""

    def __init__(self, weights: Weights, device: Device, gpu: int, threads: int) -> None:
        self._weights = weights
        self._net = ncnn.Net()
        self._net.opt.num_threads = threads
        self._net.opt.use_vulkan_compute = device == "vulkan"
        if device == "vulkan":
            self._net.set_vulkan_device(gpu)
        self._load()

    def run(self, planes: Planes) -> Planes:
        """Upscale an array of shape (3, height, width) between 0 and 1. Raises SegmentError."""
        # ncnn's Mat does not keep its array alive, needs contiguous rows and is modified in place.
        contiguous = np.ascontiguousarray(planes)
        extractor = self._net.create_extractor()
        extractor.input(self._weights.input_blob, ncnn.Mat(contiguous).clone())
        code, output = extractor.extract(self._weights.output_blob)
        if code != 0:
            size = f"{planes.shape[2]}x{planes.shape[1]}"
            raise SegmentError(f"{self._weights.name} failed on a tile of {size} ({code}): is there memory for it?")
        return np.array(output, dtype=np.float32)

    def _load(self) -> None:
        weights = self._weights
        try:
            digest = hash_weights(weights.param, weights.model)
        except OSError as error:
            raise SegmentError(f"the weights {weights.name} cannot be read: {error.strerror or error}") from error
        if digest != weights.digest:
            raise SegmentError(f"the weights {weights.name} have changed since the run began")
        if self._net.load_param(str(weights.param)) != 0 or self._net.load_model(str(weights.model)) != 0:
            raise SegmentError(f"ncnn cannot load the weights {weights.name}")


def open_network(weights: Weights, device: Device, gpu_index: int | None, threads: int) -> Network:
    """Return the network, cached for the next item of this process. Raises SegmentError."""
    return _load_network(weights, device, _choose_gpu(gpu_index) if device == "vulkan" else 0, threads)


@functools.lru_cache(maxsize=2)
def _load_network(weights: Weights, device: Device, gpu: int, threads: int) -> Network:
    return Network(weights, device, gpu, threads)


def _choose_gpu(requested: int | None) -> int:
    """Return the device: that of GPU_VARIABLE, else ``requested``, else that of the slot."""
    count = ncnn.get_gpu_count()
    variable = os.environ.get(GPU_VARIABLE, "")
    own = os.environ.get(_DEVICE_VARIABLE, "")
    slot = int(own) if own.isdecimal() else int(os.environ.get(_SLOT_VARIABLE, "0")) % max(count, 1)
    gpu = int(variable) if variable.isdecimal() else slot if requested is None else requested
    if gpu >= count:
        raise SegmentError(
            f"Vulkan has no device {gpu} here, but {count}: set {GPU_VARIABLE}, or choose the device cpu"
        )
    sys.stderr.write(f"network on {ncnn.get_gpu_info(gpu).device_name()}\n")
    return gpu
