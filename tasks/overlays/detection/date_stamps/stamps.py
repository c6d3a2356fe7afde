"""Date stamps: all letters of a line that lasts, and those beside them that change, as seconds do.

Where at least three letters of a line were found to last, their ink is known. With it, the whole line is read again,
also where what lies beneath never changed; and where its letters step from one to another, each is an overlay of its
own, in the frames in which it stands there. Two passes over the video at most, the first over a few parts of it: where
nothing changes there, that was all. Of videos longer than ``MOST_SECONDS`` only those parts are read: then all pixels
that a changing letter touched in them count as touched in every frame, with an opacity that is not known. Letters that
change more than once or twice a second, as of a frame counter, are not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, bound_mask, crop_or_pad, grow_box, intersect
from tasks.overlays.components import Shape, aligned, average_blocks, component_mask
from tasks.overlays.detection.date_stamps.changes import Block, Change, ChangeFinder, ColumnsThatChange, changes_in
from tasks.overlays.detection.date_stamps.glyphs import ALIKE, Glyph, GlyphReader, merged, read_glyph
from tasks.overlays.detection.date_stamps.rows import KNOWN_ROWS, RowView, TextRow, text_rows, with_ink_of
from tasks.overlays.detection.fitting.layers import steady_overlay
from tasks.overlays.detection.fitting.overlay_fit import Fit, fit_under
from tasks.overlays.detection.sampling import Samples, read_frames
from tasks.overlays.overlay import FrameRange, Layer, Mask, Overlay

# Videos longer than this are not decoded to their end for the sake of changing letters.
MOST_SECONDS = 600.0
# Where letters that change are looked for: so many parts of the video of so many seconds, in which seconds step twice.
_PARTS, _PART_S = 5, 2.4
# A letter stays for so long before and after it changes.
_LAG_S, _LEAST_LAG = 0.2, 2
# Most of the time, a letter stays for this long.
_STAYS_S = 0.6
# As far from the next letter of its line a letter stands, in heights of it: two blanks.
_MOST_APART = 2.0
# A letter begins and ends with the line's rows, within a sample of chroma, in pixels, or this share of its height.
_SAME_ROWS, _SAMPLE_PX = 0.2, 2.0
# What stands in a place for this share of the frames lasts.
_LASTS = 0.85
# A letter is of the ink where that explains so much of what is seen.
_LEAST_EXPLAINED = 0.8
# The same of a line, so that its opacity counts as known.
_LEAST_EXPLAINED_LINE = 0.5
# Of the ink's opacity, in the core of a stroke.
_CORE = 0.5
# Beside a line, the picture is seen for so many pixels when its opacity is fitted.
_ROOM_PX = 8
# A line is read again where its letters are most of what was found in its place; else it is not letters alone.
_MOSTLY = 0.7


@dataclass(frozen=True)
class _Video:
    """A video, and its sampled frames."""

    path: Path
    found: Survey
    samples: Samples

    @property
    def frames(self) -> int:
        return len(self.found.timeline)

    @property
    def size(self) -> tuple[int, ...]:
        return self.samples.components[0].shape[1:]

    @property
    def rate(self) -> float:
        """Frames a second; 25 where that is not known."""
        seconds = self.found.timeline.duration_seconds
        return self.frames / seconds if seconds > 0 else 25.0

    @property
    def is_long(self) -> bool:
        return self.found.timeline.duration_seconds > MOST_SECONDS


@dataclass(frozen=True)
class _Changing:
    """A place in a line, and what stands there when; height x width of the place for masks."""

    block: Block
    glyphs: tuple[Glyph, ...]


def with_digits(
    path: Path, found: Survey, samples: Samples, fits: Sequence[Fit], overlays: Sequence[Overlay]
) -> list[Overlay]:
    """``overlays``, which came of ``fits``, with all letters of their lines, and those that change beside them.

    ``found`` is the survey of the video at ``path``. Raises BadInput where the file is not the one surveyed.
    """
    video = _Video(path, found, samples)
    made = list(overlays)
    for row in text_rows(samples, fits):
        made = _with_row(video, row, made)
    return made


def _with_row(video: _Video, row: TextRow, overlays: list[Overlay]) -> list[Overlay]:
    mine = [one for one in overlays if intersect(one.box, row.box)]
    if not mine or any(one.ranges != mine[0].ranges for one in mine):
        return overlays  # nothing, or what fades: then its ink is another in every frame
    first = RowView(row, video.samples.shape, video.size)
    letters = _lasting_letters(video, first)
    fitted = _line_fit(video, first, letters)
    if fitted is None:
        return overlays
    view = RowView(with_ink_of(row, fitted, video.samples.shape), video.samples.shape, video.size)
    changing = _changing(video, view)
    away = _columns(view, changing)
    line, made = mine[0], overlays
    if _is_all(view, letters | away):
        steady = steady_overlay(video.samples, fitted, line.ranges[0], _LEAST_EXPLAINED_LINE, line.confidence)
        line = replace(steady, ranges=line.ranges)
        made = [*_without_line(video, view, made), line]
    made = _without(made, away, view.box, video.samples.shape)
    for one in changing:
        made += [_glyph_overlay(view, video, one.block, glyph, line) for glyph in one.glyphs]
    return made


def _lasting_letters(video: _Video, view: RowView) -> Mask:
    """The pixels that letters of the line touch in most of the sampled frames: height x width of the view."""
    samples = video.samples
    frames = [view.seen([stack[number] for stack in samples.components]) for number in range(len(samples.indices))]
    glyph = read_glyph(view.row, _rows_of(view), frames, FrameRange(0, video.frames))
    core = glyph.alpha > _CORE * view.row.opacity
    labels, _ = ndimage.label(core, np.ones((3, 3)))
    wanted = _in_line(view, ndimage.find_objects(labels))
    parts, _ = ndimage.label(glyph.mask, np.ones((3, 3)))
    kept = np.unique(parts[np.isin(labels, wanted)])
    return np.asarray(np.isin(parts, kept[kept > 0]))


def _in_line(view: RowView, places: Sequence[tuple[slice, slice]]) -> list[int]:
    """The numbers, from 1, of ``places`` that are letters of the line, or dots between them."""
    left, right = view.row.box.x - view.box.x, view.row.box.right - view.box.x
    top, bottom, apart = *_bounds(view), _MOST_APART * view.row.height
    most = max(_SAMPLE_PX, _SAME_ROWS * view.row.height)
    tall = [abs(rows.start - top) <= most and abs(rows.stop - bottom) <= most for rows, _ in places]
    order = sorted(
        range(len(places)), key=lambda number: max(left - places[number][1].stop, places[number][1].start - right)
    )
    for number in order:
        columns = places[number][1]
        if tall[number] and columns.start - right <= apart and left - columns.stop <= apart:
            left, right = min(left, columns.start), max(right, columns.stop)
    return [
        number
        for number, (rows, columns) in enumerate(places, start=1)
        if columns.start >= left - 1
        and columns.stop <= right + 1
        and rows.start >= top - most
        and rows.stop <= bottom + most
    ]


def _bounds(view: RowView) -> tuple[int, int]:
    """The line's first row in the view, and the first one below it."""
    return view.row.box.y - view.box.y, view.row.box.bottom - view.box.y


def _rows_of(view: RowView) -> Mask:
    """Where the line and its soft edges may lie in the view."""
    region = np.zeros((view.box.height, view.box.width), np.bool_)
    region[KNOWN_ROWS:-KNOWN_ROWS] = True
    return region


def _columns(view: RowView, changing: Iterable[_Changing]) -> Mask:
    region = np.zeros((view.box.height, view.box.width), np.bool_)
    for one in changing:
        region[KNOWN_ROWS:-KNOWN_ROWS, one.block.columns] = True
    return region


def _is_all(view: RowView, letters: Mask) -> bool:
    """Whether ``letters`` are most of what was found in the line's rows."""
    strokes = np.logical_or.reduce([crop_or_pad(mask, box, view.box) for box, mask in view.row.found]) & _rows_of(view)
    return bool(np.count_nonzero(strokes & letters) >= _MOSTLY * np.count_nonzero(strokes))


def _line_fit(video: _Video, view: RowView, letters: Mask) -> Fit | None:
    """The fit of ``letters`` under their own mask; None where there are none."""
    if not letters.any():
        return None
    columns = bound_mask(letters)
    row = Box(view.box.x + columns.x, view.box.y, columns.width, view.box.height)
    box = grow_box(row, _ROOM_PX, video.size)
    return fit_under(
        video.samples, box, crop_or_pad(letters, view.box, box), crop_or_pad(letters, view.box, _whole(video))
    )


def _whole(video: _Video) -> Box:
    return Box(0, 0, video.size[1], video.size[0])


def _without_line(video: _Video, view: RowView, overlays: Sequence[Overlay]) -> list[Overlay]:
    """``overlays`` without what was found of the line, up to half its height above and below it."""
    room = view.row.height // 2
    top, bottom = max(0, view.row.box.y - room), min(video.size[0], view.row.box.bottom + room)
    box = Box(view.box.x, top, view.box.width, bottom - top)
    return _without(overlays, np.ones((box.height, box.width), np.bool_), box, video.samples.shape)


def _without(overlays: Sequence[Overlay], region: Mask, place: Box, shape: Shape) -> list[Overlay]:
    """``overlays`` where they are not in ``region`` of ``place``; those of which nothing is left are gone."""
    made = []
    for one in overlays:
        away = crop_or_pad(region, place, one.box)
        kept = one if not away.any() else replace(one, layers=_cut(one.layers, away, shape))
        if any(layer.mask.any() for layer in kept.layers):
            made.append(kept)
    return made


def _cut(layers: Sequence[Layer], away: Mask, shape: Shape) -> tuple[Layer, ...]:
    """``layers`` without the pixels ``away``; chroma samples that have others stay."""
    cut = []
    luma = layers[0].mask & ~away
    for number, layer in enumerate(layers):
        mask = layer.mask & component_mask(luma, shape, number)
        alpha, color = np.where(mask, layer.alpha, np.float32(0)), np.where(mask, layer.color, np.float32(np.nan))
        cut.append(Layer(np.asarray(mask), alpha.astype(np.float32), color.astype(np.float32)))
    return tuple(cut)


def _changing(video: _Video, view: RowView) -> list[_Changing]:
    """The places of the line whose letters change, and what stands there when."""
    lag = max(_LEAST_LAG, round(_LAG_S * video.rate))
    columns = ColumnsThatChange(view)
    for part in _parts(video):
        for change, _ in _changes(video, view, lag, part):
            columns.add(change)
    blocks = list(columns.blocks())
    if not blocks:
        return []
    parts = _parts(video) if video.is_long else [range(video.frames)]
    found = [_Changing(block, ()) for block in blocks]
    for part in parts:
        read = _read(video, view, lag, part, blocks)
        found = [replace(one, glyphs=one.glyphs + glyphs) for one, glyphs in zip(found, read, strict=True)]
    return _believed(video, view, found)


def _parts(video: _Video) -> list[range]:
    """Runs of consecutive frames, spread through the video."""
    length = round(_PART_S * video.rate)
    if video.frames <= _PARTS * length:
        return [range(video.frames)]
    starts = np.linspace(0, video.frames - length, _PARTS).round().astype(int).tolist()
    return [range(start, start + length) for start in starts]


def _changes(
    video: _Video, view: RowView, lag: int, part: range, readers: Sequence[GlyphReader] = ()
) -> Iterator[tuple[Change, Sequence[GlyphReader]]]:
    """What changes in the line in a run of frames; ``readers`` are given the frames."""
    finder = ChangeFinder(view.row, lag)
    for index, planes in read_frames(video.path, video.found, list(part)):
        frame, weights = view.seen(planes)
        for reader in readers:
            reader.push(index, frame, weights)
        change = finder.push(index, view.ink(frame, weights))
        if change is not None:
            yield change, readers
    for change in finder.rest():
        yield change, readers


def _read(video: _Video, view: RowView, lag: int, part: range, blocks: Sequence[Block]) -> list[tuple[Glyph, ...]]:
    """What stands in each block in a run of frames."""
    readers = [GlyphReader(view, block, part.start) for block in blocks]
    glyphs: list[list[Glyph]] = [[] for _ in blocks]
    for change, _ in _changes(video, view, lag, part, readers):
        for reader, block, mine in zip(readers, blocks, glyphs, strict=True):
            if changes_in(change, block):
                mine.extend(reader.close(change.frame))
    for reader, mine in zip(readers, glyphs, strict=True):
        mine.extend(reader.close(part.stop))
    return [tuple(mine) for mine in glyphs]


def _believed(video: _Video, view: RowView, found: Sequence[_Changing]) -> list[_Changing]:
    """Those that are letters of the line, and change: each with its glyphs, told apart where they are clear."""
    believed = []
    left, right = view.row.box.x - view.box.x, view.row.box.right - view.box.x
    for one in sorted(found, key=lambda one: max(left - one.block.end, one.block.start - right)):
        near = one.block.start - right <= _MOST_APART * view.row.height
        near &= left - one.block.end <= _MOST_APART * view.row.height
        glyphs = merged(list(one.glyphs))
        if near and _stays(one.glyphs, _STAYS_S * video.rate) and _is_letters(view, glyphs):
            left, right = min(left, one.block.start), max(right, one.block.end)
            told = _spread_out(video, glyphs) if video.is_long else _told(view, glyphs)
            believed.append(_Changing(one.block, tuple(told)))
    return believed


def _stays(glyphs: Sequence[Glyph], least_frames: float) -> bool:
    """Whether most of the time each of them stays for so many frames: what moves beneath is another all the time."""
    lengths = [one.end_frame - one.start_frame for glyph in merged(glyphs, ALIKE) for one in glyph.shown]
    return sum(length for length in lengths if length >= least_frames) >= _MOSTLY * sum(lengths)


def _is_letters(view: RowView, glyphs: Sequence[Glyph]) -> bool:
    """Whether there are several, of the ink, in the line's rows, and none that lasts."""
    total = sum(_frames(one) for one in glyphs)
    there = [one for one in glyphs if one.mask.any() and _is_good(view, one)]
    good = sum(_frames(one) for one in there)
    written = sum(_frames(one) for one in glyphs if one.mask.any())
    top, bottom = _bounds(view)
    most = max(_SAMPLE_PX, _SAME_ROWS * view.row.height)
    aligned = 0
    for one in there:
        rows = np.flatnonzero((one.alpha > _CORE * view.row.opacity).any(axis=1))
        aligned += _frames(one) if abs(rows[0] - top) <= most and abs(rows[-1] + 1 - bottom) <= most else 0
    lasts = max((_frames(one) for one in merged(glyphs, ALIKE)), default=0) >= _LASTS * total
    return not lasts and good >= _MOSTLY * written and aligned >= _MOSTLY * good and good > 0


def _is_good(view: RowView, glyph: Glyph) -> bool:
    return glyph.explained >= _LEAST_EXPLAINED and glyph.is_clear(view.row.opacity)


def _frames(glyph: Glyph) -> int:
    return sum(one.end_frame - one.start_frame for one in glyph.shown)


def _told(view: RowView, glyphs: Sequence[Glyph]) -> Iterator[Glyph]:
    """Each with its own shape; what is not clear may touch what any of the others does, by nobody knows how much."""
    union = np.logical_or.reduce([one.mask for one in glyphs if _is_good(view, one)])
    for one in glyphs:
        if not one.mask.any() and one.is_clear(view.row.opacity):
            continue
        yield one if _is_good(view, one) else replace(one, mask=union, alpha=np.where(union, np.float32(np.nan), 0))


def _spread_out(video: _Video, glyphs: Sequence[Glyph]) -> Iterator[Glyph]:
    """All of them as one that shows in every frame, of an opacity that is not known."""
    union = np.logical_or.reduce([one.mask for one in glyphs])
    alpha = np.where(union, np.float32(np.nan), np.float32(0))
    yield replace(glyphs[0], mask=union, alpha=alpha, shown=(FrameRange(0, video.frames),))


def _glyph_overlay(view: RowView, video: _Video, place: Block, glyph: Glyph, line: Overlay) -> Overlay:
    """The letter as an overlay of the line's ink; its opacity is not known where that of the line is not."""
    shape, row = video.samples.shape, view.row
    whole = Box(view.box.x + place.start, view.box.y, place.end - place.start, view.box.height)
    box = aligned(whole, shape, video.size[1], video.size[0])
    mask, alpha = crop_or_pad(glyph.mask, whole, box), np.where(glyph.mask, glyph.alpha, np.float32(0))
    unit = np.float32(1 << (shape.bits - 8))
    page = np.zeros(mask.shape, np.float32)
    page[mask] = alpha[glyph.mask]
    layers = []
    for number, color in enumerate((row.color * unit).tolist()):
        part = component_mask(mask, shape, number)
        small = np.where(part, average_blocks(page, shape.divisors[number]), 0).astype(np.float32)
        small[part & ~np.bool_(line.is_known)] = np.nan
        own = np.where(part & np.isfinite(small), np.float32(color), np.float32(np.nan))
        layers.append(Layer(part, small, own))
    return Overlay(box, tuple(layers), glyph.shown, "static", line.confidence)
