"""The frames of one segment without their overlays: only the regions around these are worked on."""

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
    """A region on its way through its remover: crops that wait for it, and what comes out."""

    region: Region
    remover: Remover
    waiting: deque[Crop] = field(default_factory=deque)
    cleaned: Iterator[Crop] = field(default_factory=lambda: iter(()))


class SegmentCleaner:
    """Takes overlays away from the frames of one segment, region by region.

    Frames are held only for as long as their regions need the ones after them. ``shares`` says afterwards how samples
    were recovered.
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

    def cleaned(self, frames: Iterator[SegmentFrame], segment: Segment) -> Iterator[VideoFrame]:
        """The frames of ``segment``, of which ``frames`` has those of its context, too.

        Every sample outside the overlays' masks is that of the source.
        """
        wanted = FrameRange(segment.start_frame, segment.end_frame)
        for place in self._places:
            place.cleaned = place.remover.cleaned(self._crops(place, frames, wanted), wanted)
        for _ in range(len(segment)):
            crops = [next(place.cleaned) for place in self._places]
            while not self._frames:
                self._read(next(frames), wanted)
            frame = self._frames.popleft()
            for place, crop in zip(self._places, crops, strict=True):
                self._paste(frame, place.region, crop)
            yield frame

    def _crops(self, place: _Place, frames: Iterator[SegmentFrame], wanted: FrameRange) -> Iterator[Crop]:
        """The crops of one region; whichever region needs the next frame first has it read for all."""
        while True:
            while not place.waiting:
                read = next(frames, None)
                if read is None:
                    return
                self._read(read, wanted)
            yield place.waiting.popleft()

    def _read(self, read: SegmentFrame, wanted: FrameRange) -> None:
        frame = self._reader.planar(read.frame)
        components = self._reader.components(frame)
        for place in self._places:
            parts = (self._shape.part(place.region.box, number) for number in range(len(components)))
            copies = tuple(one[part].copy() for one, part in zip(components, parts, strict=True))
            place.waiting.append(Crop(read.index, copies))
        if read.index in wanted:
            self._frames.append(frame)

    def _paste(self, frame: VideoFrame, region: Region, crop: Crop) -> None:
        for number, component in enumerate(self._reader.components(frame)):
            component[self._shape.part(region.box, number)] = crop.components[number]
