"""Tone mapping of HDR frames (PQ and HLG) to SDR images in sRGB. Pure functions on arrays.

Reference white is 203 cd/m2 (ITU-R BT.2408). Colors are converted from BT.2020 to BT.709. Highlights are compressed by
the curve "mobius" of FFmpeg's filter tonemap, which leaves values below 0.3 of the reference white unchanged.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

PQ, HLG = 16, 18  # transfer characteristics of ITU-T H.273
BT2020 = 9  # primaries
REFERENCE_WHITE_NITS = 203.0
PEAK_NITS = 1000.0
KNEE = 0.3
_PQ_MAX_NITS = 10_000.0
# SMPTE ST 2084
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
# ITU-R BT.2100, HLG
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_HLG_GAMMA = 1.2
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)
# ITU-R BT.2087
_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)  # fmt: skip


def map_tones(signal: Floats, transfer: int, primaries: int) -> Floats:
    """Return HDR values (height x width x 3, RGB, 0 to 1, as stored) as values of an SDR image in sRGB, 0 to 1."""
    light = decode_light(signal, transfer) / np.float32(REFERENCE_WHITE_NITS)
    if primaries == BT2020:
        light = light @ _TO_709.T
    return encode_srgb(compress(np.maximum(light, 0)))


def decode_light(signal: Floats, transfer: int) -> Floats:
    """Return the light of a display with a peak of 1000 cd/m2 (HLG), or the stated light (PQ), in cd/m2."""
    if transfer == PQ:
        power = np.power(signal, np.float32(1 / _M2))
        ratio = np.maximum(power - _C1, 0) / (_C2 - _C3 * power)
        light: Floats = np.float32(_PQ_MAX_NITS) * np.power(ratio, np.float32(1 / _M1))
        return light
    scene = np.where(signal <= 0.5, signal * signal / 3, (np.exp((signal - _C) / _A) + _B) / 12)
    luminance = scene @ _LUMA_2020
    shown: Floats = (PEAK_NITS * np.power(np.maximum(luminance, 1e-6), _HLG_GAMMA - 1)[..., None] * scene).astype(
        np.float32
    )
    return shown


def compress(light: Floats) -> Floats:
    """Return light relative to the reference white compressed to 0 to 1, by the largest of the three channels."""
    peak = PEAK_NITS / REFERENCE_WHITE_NITS
    a = -(KNEE**2) * (peak - 1) / (KNEE**2 - 2 * KNEE + peak)
    b = (KNEE**2 - 2 * KNEE * peak + peak) / (peak - 1)
    largest = np.maximum(light.max(axis=-1, keepdims=True), 1e-6)
    curve = (b**2 + 2 * b * KNEE + KNEE**2) / (b - a) * (largest + a) / (largest + b)
    scale = np.where(largest <= KNEE, 1.0, curve / largest)
    return np.clip(light * scale, 0, 1).astype(np.float32)


def encode_srgb(light: Floats) -> Floats:
    """Return linear light, 0 to 1, as sRGB values, 0 to 1."""
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, np.float32(1 / 2.4)) - 0.055)
    return encoded.astype(np.float32)
