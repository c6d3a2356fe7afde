"""The interface of removers: regions of the frame, crops, and shares of recovered samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.media.segments.planes import Plane
from tasks.overlays.boxes import Box, grow_box, intersect, merge_boxes
from tasks.overlays.components import Shape, align_box
from tasks.overlays.overlay import FrameRange, Overlay

Method = Literal["auto", "unblend", "temporal", "spatial"]

# Margin around overlays: motion is measured there, and holes are filled from it.
MARGIN_PX = 24
# Neighboring frames that are used on both sides, by distance. Powers of two: the motion over 2 n frames combines two
# motions over n frames.
OFFSETS: dict[Method, tuple[int, ...]] = {
    "auto": (1, 2, 4, 8, 16),
    "unblend": (),
    "temporal": (1, 2, 4, 8, 16),
    "spatial": (1, 2),
}


@dataclass(frozen=True)
class Region:
    """A part of the frame that is processed independently.

    box       in pixels; its edges lie between whole samples of all components
    overlays  within the box, in the order of detection
    """

    box: Box
    overlays: tuple[Overlay, ...]

    def find_shown(self, frame: int) -> tuple[int, ...]:
        """Return the positions in ``overlays`` of those that show in frame ``frame``."""
        return tuple(place for place, overlay in enumerate(self.overlays) if overlay.is_shown(frame))


@dataclass(frozen=True)
class Crop:
    """A copy of a region's samples in frame ``index`` of the video.

    components  height x width of each component's part (``Shape.get_part``), in codes of the source
    """

    index: int
    components: tuple[Plane, ...]


@dataclass(frozen=True)
class Shares:
    """Numbers of samples under overlays by their main source.

    unblended  computed from the sample itself
    temporal   visible in other frames
    spatial    filled in from the surroundings
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
    """Removes the overlays of one region from consecutive frames."""

    @abstractmethod
    def clean(self, crops: Iterable[Crop], wanted: FrameRange) -> Iterator[Crop]:
        """Yield the ``wanted`` frames of ``crops``, in order, without the overlays.

        ``crops`` are consecutive frames: the wanted ones with ``count_context_frames`` more on both sides, or fewer at
        the ends of the video. The result for a frame does not depend on the ends of the segment. Samples outside
        overlays stay identical, bit for bit, and so do frames without overlays. Only a window of crops is held.

        Raises ValueError for crops of another size than the region's or out of order.
        """

    @property
    @abstractmethod
    def shares(self) -> Shares:
        """The shares of the frames that :meth:`clean` has yielded so far."""


def count_context_frames(method: Method) -> int:
    """Return the number of frames to read on both sides of a segment as context."""
    return max(OFFSETS[method], default=0)


def plan_regions(
    overlays: Iterable[Overlay], shape: Shape, width_px: int, height_px: int, margin_px: int = MARGIN_PX
) -> tuple[Region, ...]:
    """Return the parts of a frame of that size that removing ``overlays`` needs, with a margin of ``margin_px``.

    Overlays with overlapping surroundings share a region, so that no sample is in two.
    """
    merged_regions: list[Region] = []
    for overlay in overlays:
        box = align_box(grow_box(overlay.box, margin_px, (height_px, width_px)), shape, width_px, height_px)
        merged_regions = _merge_region(Region(box, (overlay,)), merged_regions)
    return tuple(sorted(merged_regions, key=lambda region: (region.box.y, region.box.x)))


def _merge_region(new: Region, regions: list[Region]) -> list[Region]:
    """Return ``regions`` with ``new``, merged with all that it overlaps, and with all that the result overlaps."""
    for place, other in enumerate(regions):
        if intersect(new.box, other.box):
            both = Region(merge_boxes(other.box, new.box), (*other.overlays, *new.overlays))
            return _merge_region(both, regions[:place] + regions[place + 1 :])
    return [*regions, new]
