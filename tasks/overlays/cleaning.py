"""Removes overlays from the frames of one segment: only the regions around them are processed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from av.video.frame import VideoFrame

from tasks.media.segments.plan import Segment
from tasks.media.segments.reading import SegmentFrame
from tasks.overlays.components import ComponentReader, Shape
from tasks.overlays.overlay import FrameRange
from tasks.overlays.removal.base import Crop, Region, Remover, Shares

MakeRemover = Callable[[Region], Remover]


@dataclass
class _Place:
    """A region in its remover: crops that wait for it, and its output."""

    region: Region
    remover: Remover
    waiting: deque[Crop] = field(default_factory=deque)
    cleaned: Iterator[Crop] = field(default_factory=lambda: iter(()))


class SegmentCleaner:
    """Removes overlays from the frames of one segment, region by region.

    Frames are held only while their regions need later ones. ``shares`` counts how samples were recovered.
    """

    def __init__(self, shape: Shape, regions: Sequence[Region], make: MakeRemover) -> None:
        self._shape = shape
        self._reader = ComponentReader()
        self._places = [_Place(region, make(region)) for region in regions]
        self._frames: deque[VideoFrame] = deque()

    @property
    def shares(self) -> Shares:
        """How the samples of all regions were recovered so far."""
        return sum((place.remover.shares for place in self._places), Shares())

    def clean(self, frames: Iterator[SegmentFrame], segment: Segment) -> Iterator[VideoFrame]:
        """Yield the frames of ``segment``; ``frames`` include those of its context.

        Every sample outside the overlays' masks stays the same.
        """
        wanted = FrameRange(segment.start_frame, segment.end_frame)
        for place in self._places:
            place.cleaned = place.remover.clean(self._read_crops(place, frames, wanted), wanted)
        for _ in range(len(segment)):
            crops = [next(place.cleaned) for place in self._places]
            while not self._frames:
                self._read(next(frames), wanted)
            frame = self._frames.popleft()
            for place, crop in zip(self._places, crops, strict=True):
                self._paste(frame, place.region, crop)
            yield frame

    def _read_crops(self, place: _Place, frames: Iterator[SegmentFrame], wanted: FrameRange) -> Iterator[Crop]:
        """Yield the crops of one region; the first region that needs a frame reads it for all."""
        while True:
            while not place.waiting:
                decoded = next(frames, None)
                if decoded is None:
                    return
                self._read(decoded, wanted)
            yield place.waiting.popleft()

    def _read(self, decoded: SegmentFrame, wanted: FrameRange) -> None:
        frame = self._reader.make_planar(decoded.frame)
        components = self._reader.get_components(frame)
        for place in self._places:
            parts = (self._shape.get_part(place.region.box, number) for number in range(len(components)))
            copies = tuple(plane[part].copy() for plane, part in zip(components, parts, strict=True))
            place.waiting.append(Crop(decoded.index, copies))
        if decoded.index in wanted:
            self._frames.append(frame)

    def _paste(self, frame: VideoFrame, region: Region, crop: Crop) -> None:
        for number, component in enumerate(self._reader.get_components(frame)):
            component[self._shape.get_part(region.box, number)] = crop.components[number]
