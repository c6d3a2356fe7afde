"""Where a picture has edges that stay while the picture changes, and which of them are an overlay's.

What lies beneath an overlay changes from scene to scene, its edges do not: the median over scenes of signed gradients
keeps them and nothing else (Dekel et al., On the Effectiveness of Visible Watermarks, CVPR 2017). Scenes count alike,
however long they are, and each is first averaged, which takes out what moves in it.
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

# Gradients in 8-bit codes a pixel: what is surely an edge, and what continues one.
_SURE, _LIKELY = 2.0, 0.8
# An edge agrees with the median where it has its direction and so much of its strength.
_SAME_SHARE = 0.3
_AGREEING = 0.85
_FEWEST_EDGE_PX = 12
_STRIP_ROWS = 48


@dataclass(frozen=True)
class Evidence:
    """Edges of a picture.

    lasting   float32, height x width: strength of those that stay, in 8-bit codes a pixel; 0 where none do
    usual     float32, height x width: mean strength of all edges there, lasting or not
    variety   float32, height x width: standard deviation of brightness from scene to scene, 8-bit codes
    """

    lasting: Floats
    usual: Floats
    variety: Floats

    @property
    def likely(self) -> float:
        """From which strength on a lasting edge counts."""
        return _LIKELY


def gather(samples: Samples) -> Evidence:
    """Look at all components for lasting edges."""
    height, width = samples.components[0].shape[1:]
    lasting, usual = np.zeros((height, width), np.float32), np.zeros((height, width), np.float32)
    variety = np.zeros((height, width), np.float32)
    for number in range(len(samples.components)):
        mine, all_edges, varies = _looked_at(samples, number)
        lasting += _enlarged(mine, (height, width)) ** 2
        usual += _enlarged(all_edges, (height, width)) ** 2
        variety = np.maximum(variety, _enlarged(varies, (height, width)))
    return Evidence(np.sqrt(lasting), np.sqrt(usual), variety)


def regions(evidence: Evidence, reach_px: int) -> Iterator[tuple[Box, Mask]]:
    """Groups of lasting edges no farther than ``reach_px`` from one another: the box, and which pixels of it are edges.

    The box has room of ``reach_px`` around the edges, as far as the picture goes.
    """
    likely = (evidence.lasting > _LIKELY).astype(np.uint8)
    count, labels = cv2.connectedComponents(likely, connectivity=8)
    sure = np.zeros(count, bool)
    sure[np.unique(labels[evidence.lasting > _SURE])] = True
    sizes = np.bincount(labels.ravel(), minlength=count)
    sure &= sizes >= _FEWEST_EDGE_PX
    sure[0] = False
    edges = sure[labels]
    joined = cv2.dilate(edges.astype(np.uint8), _disc(reach_px // 2))
    count, groups, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    for number in range(1, count):
        box = grow_box(Box(*map(int, stats[number][:4])), reach_px, edges.shape)
        yield box, edges[box.part] & (groups[box.part] == number)


def lasting_share(evidence: Evidence, without: list[Box]) -> float:
    """The share of the picture's pixels that have lasting edges, those in the boxes ``without`` not counted."""
    lasting = evidence.lasting > _LIKELY
    for box in without:
        lasting[box.part] = False
    return float(lasting.mean())


def _looked_at(samples: Samples, number: int) -> tuple[Floats, Floats, Floats]:
    """Lasting and usual edge strength of one component, and its variety, strip after strip.

    All scenes of a whole picture at once would take 400 MB at 3840x2160, and working on them a multiple of it.
    """
    height, width = samples.components[number].shape[1:]
    lasting, usual, variety = (np.zeros((height, width), np.float32) for _ in range(3))
    for top in range(0, height, _STRIP_ROWS):
        rows = np.arange(top, min(height, top + _STRIP_ROWS))
        scenes = _scenes(samples, number, np.clip(np.arange(top - 1, rows[-1] + 2), 0, height - 1))
        lasting[rows], usual[rows] = _edges(scenes)
        variety[rows] = scenes[:, 1:-1].std(axis=0)
    return lasting, usual, variety


def _scenes(samples: Samples, number: int, rows: npt.NDArray[np.int64]) -> Floats:
    """The mean picture of each group of frames, in 8-bit codes, of those rows."""
    unit = np.float32(1 << (samples.shape.bits - 8))
    stack, groups = samples.components[number][:, rows], samples.groups
    means = [stack[groups == group].mean(axis=0, dtype=np.float32) for group in range(int(groups.max()) + 1)]
    return np.asarray(np.stack(means) / unit, np.float32)


def _edges(scenes: Floats) -> tuple[Floats, Floats]:
    """Lasting and usual edge strength of the rows between the first and the last."""
    padded = np.pad(scenes, ((0, 0), (0, 0), (1, 1)), mode="edge")
    across = np.asarray(padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2], np.float32) / np.float32(2)
    down = np.asarray(scenes[:, 2:] - scenes[:, :-2], np.float32) / np.float32(2)
    return _lasting(across, down), np.asarray(np.hypot(across, down).mean(axis=0), np.float32)


def _lasting(across: Floats, down: Floats) -> Floats:
    """The median gradient's length where nearly all scenes agree with it, 0 elsewhere."""
    x, y = np.median(across, axis=0), np.median(down, axis=0)
    square = x * x + y * y
    along = across * x + down * y
    agreeing = (along >= _SAME_SHARE * square).mean(axis=0)
    return np.where(agreeing >= _AGREEING, np.sqrt(square), 0).astype(np.float32)


def _enlarged(values: Floats, size: tuple[int, int]) -> Floats:
    if values.shape == size:
        return values
    return np.asarray(cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR), np.float32)


def _disc(radius: int) -> npt.NDArray[np.uint8]:
    size = 2 * max(1, radius) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
