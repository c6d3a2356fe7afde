"""Edges that stay while the frame changes, and their groups.

The background of an overlay changes from scene to scene, its edges do not: the median over scenes of signed gradients
keeps only these (Dekel et al., On the Effectiveness of Visible Watermarks, CVPR 2017). Scenes have equal weights,
however long they are. Each is averaged first, which removes moving content.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tasks.overlays.boxes import Box, grow_box
from tasks.overlays.detection.sampling import Samples
from tasks.overlays.overlay import Floats, Mask

# Gradients in 8-bit codes per pixel: certain edges, and their continuations.
_SURE, _LIKELY = 2.0, 0.8
# An edge agrees with the median if it has its direction and this share of its strength.
_SAME_SHARE = 0.3
_AGREEING = 0.85
_MIN_EDGE_PX = 12
_STRIP_ROWS = 48


@dataclass(frozen=True)
class Evidence:
    """Edges of a video.

    lasting   float32, height x width: strength of lasting edges, in 8-bit codes per pixel; 0 elsewhere
    usual     float32, height x width: mean strength of all edges
    variety   float32, height x width: standard deviation of brightness between scenes, in 8-bit codes
    """

    lasting: Floats
    usual: Floats
    variety: Floats

    @property
    def likely(self) -> float:
        """The strength above which a lasting edge counts."""
        return _LIKELY


def gather_evidence(samples: Samples) -> Evidence:
    """Measure the lasting edges of all components."""
    height, width = samples.components[0].shape[1:]
    lasting, usual = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    variety = np.zeros((height, width), np.float32)
    for number in range(len(samples.components)):
        lasting_edges, all_edges, varies = _measure_edges(samples, number)
        lasting += _resize(lasting_edges, (height, width)) ** 2
        usual += _resize(all_edges, (height, width)) ** 2
        variety = np.maximum(variety, _resize(varies, (height, width)))
    return Evidence(np.sqrt(lasting), np.sqrt(usual), variety)


def group_edges(evidence: Evidence, reach_px: int) -> Iterator[tuple[Box, Mask]]:
    """Yield groups of lasting edges at most ``reach_px`` apart: the box, and the edge pixels within it.

    The box has a margin of ``reach_px`` around the edges, within the frame.
    """
    likely = (evidence.lasting > _LIKELY).astype(np.uint8)
    count, labels = cv2.connectedComponents(likely, connectivity=8)
    sure = np.zeros(count, bool)
    sure[np.unique(labels[evidence.lasting > _SURE])] = True
    sizes = np.bincount(labels.ravel(), minlength=count)
    sure &= sizes >= _MIN_EDGE_PX
    sure[0] = False
    edges = sure[labels]
    joined = cv2.dilate(edges.astype(np.uint8), _make_disc(reach_px // 2))
    count, groups, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    for number in range(1, count):
        box = grow_box(Box(*map(int, stats[number][:4])), reach_px, edges.shape)
        yield box, edges[box.part] & (groups[box.part] == number)


def measure_lasting_share(evidence: Evidence, without: list[Box]) -> float:
    """Return the share of the frame's pixels with lasting edges, except those in the boxes ``without``."""
    lasting = evidence.lasting > _LIKELY
    for box in without:
        lasting[box.part] = False
    return float(lasting.mean())


def _measure_edges(samples: Samples, number: int) -> tuple[Floats, Floats, Floats]:
    """Return lasting and usual edge strength of one component, and its variety, strip by strip.

    All scenes of a whole frame would take 400 MB at 3840x2160, and working on them a multiple of it.
    """
    height, width = samples.components[number].shape[1:]
    lasting, usual, variety = (np.zeros((height, width), np.float32) for _ in range(3))
    for top in range(0, height, _STRIP_ROWS):
        rows = np.arange(top, min(height, top + _STRIP_ROWS))
        scenes = _average_scenes(samples, number, np.clip(np.arange(top - 1, rows[-1] + 2), 0, height - 1))
        lasting[rows], usual[rows] = _compute_edges(scenes)
        variety[rows] = scenes[:, 1:-1].std(axis=0)
    return lasting, usual, variety


def _average_scenes(samples: Samples, number: int, rows: npt.NDArray[np.int64]) -> Floats:
    """Return the mean of each group of frames in these rows, in 8-bit codes."""
    unit = np.float32(1 << (samples.shape.bits - 8))
    stack, groups = samples.components[number][:, rows], samples.groups
    means = [stack[groups == group].mean(axis=0, dtype=np.float32) for group in range(int(groups.max()) + 1)]
    return np.asarray(np.stack(means) / unit, np.float32)


def _compute_edges(scenes: Floats) -> tuple[Floats, Floats]:
    """Return lasting and usual edge strength of the rows between the first and the last."""
    padded = np.pad(scenes, ((0, 0), (0, 0), (1, 1)), mode="edge")
    across = np.asarray(padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], np.float32) / np.float32(2)
    down = np.asarray(scenes[:, 2:] - scenes[:, :-2], np.float32) / np.float32(2)
    return _select_lasting(across, down), np.asarray(np.hypot(across, down).mean(axis=0), np.float32)


def _select_lasting(across: Floats, down: Floats) -> Floats:
    """Return the length of the median gradient where nearly all scenes agree with it, 0 elsewhere."""
    x, y = np.median(across, axis=0), np.median(down, axis=0)
    square = x * x + y * y
    along = across * x + down * y
    agreeing = (along >= _SAME_SHARE * square).mean(axis=0)
    return np.where(agreeing >= _AGREEING, np.sqrt(square), 0).astype(np.float32)


def _resize(values: Floats, size: tuple[int, int]) -> Floats:
    if values.shape == size:
        return values
    return np.asarray(cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _make_disc(radius: int) -> npt.NDArray[np.uint8]:
    size = 2 * max(1, radius) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
