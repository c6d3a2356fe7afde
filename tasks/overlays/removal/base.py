"""The seam of removal: which part of the picture is worked on, what a remover is given, and what it gives back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box, grow_box, intersect, merge_boxes
from tasks.overlays.components import Shape, aligned
from tasks.overlays.overlay import FrameRange, Overlay

Method = Literal["auto", "unblend", "temporal", "spatial"]

# How far around an overlay the picture is read: motion is measured there, and holes are filled from it.
MARGIN_PX = 24
# Neighbours of a frame that are looked at, in frames from it, on both sides. Powers of two: the motion over 2 n
# frames is that over n, twice, and is known already.
OFFSETS: dict[Method, tuple[int, ...]] = {
    "auto": (1, 2, 4, 8, 16),
    "unblend": (),
    "temporal": (1, 2, 4, 8, 16),
    "spatial": (1, 2),
}


@dataclass(frozen=True)
class Region:
    """A part of the picture that is worked on by itself.

    box       in pixels; its edges lie between whole samples of all components
    overlays  that lie in it, whole, in the order in which they were found
    """

    box: Box
    overlays: tuple[Overlay, ...]

    def shown(self, frame: int) -> tuple[int, ...]:
        """The places in ``overlays`` of those that lie over frame ``frame``."""
        return tuple(place for place, overlay in enumerate(self.overlays) if overlay.shows(frame))


@dataclass(frozen=True)
class Crop:
    """A copy of a region's samples in frame ``index`` of the video.

    components  height x width of each component's part (``Shape.part``), in codes of the source
    """

    index: int
    components: tuple[Plane, ...]


@dataclass(frozen=True)
class Shares:
    """How many samples under overlays got their value in which way.

    unblended  most of it computed from the sample itself
    temporal   most of it seen in other frames
    spatial    most of it guessed from its surroundings
    """

    unblended: int = 0
    temporal: int = 0
    spatial: int = 0

    @property
    def total(self) -> int:
        """All samples under overlays."""
        return self.unblended + self.temporal + self.spatial

    def __add__(self, other: Shares) -> Shares:
        return Shares(self.unblended + other.unblended, self.temporal + other.temporal, self.spatial + other.spatial)


class Remover(ABC):
    """Takes the overlays of one region away, in one run of frames."""

    @abstractmethod
    def cleaned(self, crops: Iterable[Crop], wanted: FrameRange) -> Iterator[Crop]:
        """The ``wanted`` frames of ``crops``, in order, without the overlays.

        ``crops`` are of consecutive frames, in order: the wanted ones with ``context_frames`` more on both sides, or
        as many as the video has. What comes back for a frame does not depend on where the segment begins and ends.
        Samples under no overlay are the same, bit for bit, and so are frames over which none lies. Only a window of
        crops is held.

        Raises ValueError for crops of another size than the region's or out of order.
        """

    @property
    @abstractmethod
    def shares(self) -> Shares:
        """Of the frames that :meth:`cleaned` has given so far."""


def context_frames(method: Method) -> int:
    """How many frames are read on both sides of a segment, for what they show of it, and dropped."""
    return max(OFFSETS[method], default=0)


def regions(
    overlays: Iterable[Overlay], shape: Shape, width_px: int, height_px: int, margin_px: int = MARGIN_PX
) -> tuple[Region, ...]:
    """The parts of a picture of that size that removing ``overlays`` needs: each with ``margin_px`` around it.

    Overlays whose surroundings overlap share a region, so that no sample is in two.
    """
    found: list[Region] = []
    for overlay in overlays:
        box = aligned(grow_box(overlay.box, margin_px, (height_px, width_px)), shape, width_px, height_px)
        found = _merged(Region(box, (overlay,)), found)
    return tuple(sorted(found, key=lambda region: (region.box.y, region.box.x)))


def _merged(new: Region, regions: list[Region]) -> list[Region]:
    """``regions`` with ``new``, which takes in all that it touches, and all that the larger one touches then."""
    for place, other in enumerate(regions):
        if intersect(new.box, other.box):
            both = Region(merge_boxes(other.box, new.box), (*other.overlays, *new.overlays))
            return _merged(both, regions[:place] + regions[place + 1 :])
    return [*regions, new]
