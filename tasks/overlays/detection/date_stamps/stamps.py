"""Date stamps: all letters of a lasting text row, and adjacent ones that change, such as seconds.

If at least three letters of a row last, they determine the ink. With it, the whole row is read again, also over
backgrounds that never change. Where letters are replaced, each letter is an overlay with its own frames. This takes at
most two passes over the video. The first reads a few parts; if no letter changes there, it is the only one. Of videos
longer than ``MAX_SECONDS`` only those parts are read: all pixels that changing letters touch there count as touched in
every frame, with unknown opacity. Letters that change more than once or twice per second, such as frame counters, are
not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from tasks.media.segments.source import Survey
from tasks.overlays.boxes import Box, bound_mask, crop_or_pad, grow_box, intersect
from tasks.overlays.components import Shape, align_box, average_blocks, reduce_mask
from tasks.overlays.detection.date_stamps.changes import Block, Change, ChangeCounter, ChangeFinder, is_changed
from tasks.overlays.detection.date_stamps.glyphs import ALIKE, Glyph, GlyphReader, merge_glyphs, read_glyph
from tasks.overlays.detection.date_stamps.rows import OUTSIDE_ROWS, RowView, TextRow, find_rows, replace_ink
from tasks.overlays.detection.fitting.layers import make_steady_overlay
from tasks.overlays.detection.fitting.overlay_fit import Fit, fit_mask
from tasks.overlays.detection.sampling import Samples, read_frames
from tasks.overlays.overlay import FrameRange, Layer, Mask, Overlay

# Longer videos are not decoded to the end for changing letters.
MAX_SECONDS = 600.0
# Parts of the video in which changing letters are searched, and their length: seconds change twice in them.
_PARTS, _PART_SECONDS = 5, 2.4
# A letter stays for this long before and after it changes, in seconds and at least frames.
_LAG_SECONDS, _MIN_LAG = 0.2, 2
# Letters stay for at least this long most of the time.
_STAY_SECONDS = 0.6
# Maximum distance between letters of a row, in row heights: two blanks.
_MAX_GAP = 2.0
# Maximum distance of a letter's ends from the row's: a share of its height, and one chroma sample in pixels.
_SAME_ROWS, _SAMPLE_PX = 0.2, 2.0
# A letter that shows in this share of the frames lasts.
_LASTS = 0.85
# A letter belongs to the ink if it explains this much.
_MIN_EXPLAINED = 0.8
# The opacity of a row counts as known above this share.
_MIN_EXPLAINED_LINE = 0.5
# Share of the ink's opacity in the core of a stroke.
_CORE = 0.5
# Margin around a row for the fit of its opacity, in pixels.
_ROOM_PX = 8
# A row is read again if its letters are most of the strokes in its place; else it contains more than letters.
_MAJORITY = 0.7


@dataclass(frozen=True)
class _Video:
    """The video and its sampled frames."""

    path: Path
    survey: Survey
    samples: Samples

    @property
    def frames(self) -> int:
        return len(self.survey.timeline)

    @property
    def size(self) -> tuple[int, ...]:
        return self.samples.components[0].shape[1:]

    @property
    def rate(self) -> float:
        """Frames per second; 25 if unknown."""
        seconds = self.survey.timeline.duration_seconds
        return self.frames / seconds if seconds > 0 else 25.0

    @property
    def is_long(self) -> bool:
        return self.survey.timeline.duration_seconds > MAX_SECONDS


@dataclass(frozen=True)
class _Place:
    """A place in a row, and its letters over time; masks are height x width of the place."""

    block: Block
    glyphs: tuple[Glyph, ...]


def add_date_stamps(
    path: Path, survey: Survey, samples: Samples, fits: Sequence[Fit], overlays: Sequence[Overlay]
) -> list[Overlay]:
    """Return ``overlays``, which came from ``fits``, with all letters of their rows and adjacent ones that change.

    Raises BadInput if the file is not the surveyed one.
    """
    video = _Video(path, survey, samples)
    result = list(overlays)
    for row in find_rows(samples, fits):
        result = _add_row(video, row, result)
    return result


def _add_row(video: _Video, row: TextRow, overlays: list[Overlay]) -> list[Overlay]:
    row_overlays = [overlay for overlay in overlays if intersect(overlay.box, row.box)]
    if not row_overlays or any(overlay.ranges != row_overlays[0].ranges for overlay in row_overlays):
        return overlays  # none, or one that fades: its ink differs from frame to frame
    first = RowView(row, video.samples.shape, video.size)
    letters = _find_lasting_letters(video, first)
    fitted = _fit_line(video, first, letters)
    if fitted is None:
        return overlays
    view = RowView(replace_ink(row, fitted, video.samples.shape), video.samples.shape, video.size)
    changing = _find_changing(video, view)
    changing_pixels = _mask_places(view, changing)
    line, result = row_overlays[0], overlays
    if _is_mostly_letters(view, letters | changing_pixels):
        steady = make_steady_overlay(video.samples, fitted, line.ranges[0], _MIN_EXPLAINED_LINE, line.confidence)
        line = replace(steady, ranges=line.ranges)
        result = [*_remove_line(video, view, result), line]
    result = _remove_pixels(result, changing_pixels, view.box, video.samples.shape)
    for place in changing:
        result += [_make_overlay(view, video, place.block, glyph, line) for glyph in place.glyphs]
    return result


def _find_lasting_letters(video: _Video, view: RowView) -> Mask:
    """Return the pixels that letters of the row touch in most sampled frames: height x width of the view."""
    samples = video.samples
    frames = [view.read([stack[number] for stack in samples.components]) for number in range(len(samples.indices))]
    glyph = read_glyph(view.row, _mask_rows(view), frames, FrameRange(0, video.frames))
    core = glyph.alpha > _CORE * view.row.opacity
    labels, _ = ndimage.label(core, np.ones((3, 3)))
    wanted = _select_letters(view, ndimage.find_objects(labels))
    parts, _ = ndimage.label(glyph.mask, np.ones((3, 3)))
    kept = np.unique(parts[np.isin(labels, wanted)])
    return np.asarray(np.isin(parts, kept[kept > 0]))


def _select_letters(view: RowView, places: Sequence[tuple[slice, slice]]) -> list[int]:
    """Return the numbers, from 1, of ``places`` that are letters of the row or dots between them."""
    left, right = view.row.box.x - view.box.x, view.row.box.right - view.box.x
    top, bottom, apart = *_get_rows(view), _MAX_GAP * view.row.height
    limit = max(_SAMPLE_PX, _SAME_ROWS * view.row.height)
    tall = [abs(rows.start - top) <= limit and abs(rows.stop - bottom) <= limit for rows, _ in places]
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
        and rows.start >= top - limit
        and rows.stop <= bottom + limit
    ]


def _get_rows(view: RowView) -> tuple[int, int]:
    """Return the line's first row in the view, and the first one below it."""
    return view.row.box.y - view.box.y, view.row.box.bottom - view.box.y


def _mask_rows(view: RowView) -> Mask:
    """Return where the line and its soft edges may lie in the view."""
    region = np.zeros((view.box.height, view.box.width), np.bool_)
    region[OUTSIDE_ROWS:-OUTSIDE_ROWS] = True
    return region


def _mask_places(view: RowView, changing: Iterable[_Place]) -> Mask:
    region = np.zeros((view.box.height, view.box.width), np.bool_)
    for place in changing:
        region[OUTSIDE_ROWS:-OUTSIDE_ROWS, place.block.columns] = True
    return region


def _is_mostly_letters(view: RowView, letters: Mask) -> bool:
    """Return True if ``letters`` are most of the strokes in the line's rows."""
    strokes = np.logical_or.reduce([crop_or_pad(mask, box, view.box) for box, mask in view.row.sources]) & _mask_rows(
        view
    )
    return bool(np.count_nonzero(strokes & letters) >= _MAJORITY * np.count_nonzero(strokes))


def _fit_line(video: _Video, view: RowView, letters: Mask) -> Fit | None:
    """Return the fit of ``letters`` under their own mask; None if there are none."""
    if not letters.any():
        return None
    columns = bound_mask(letters)
    row = Box(view.box.x + columns.x, view.box.y, columns.width, view.box.height)
    box = grow_box(row, _ROOM_PX, video.size)
    return fit_mask(
        video.samples, box, crop_or_pad(letters, view.box, box), crop_or_pad(letters, view.box, _bound_frame(video))
    )


def _bound_frame(video: _Video) -> Box:
    return Box(0, 0, video.size[1], video.size[0])


def _remove_line(video: _Video, view: RowView, overlays: Sequence[Overlay]) -> list[Overlay]:
    """Return ``overlays`` without the row, up to half its height above and below it."""
    room = view.row.height // 2
    top, bottom = max(0, view.row.box.y - room), min(video.size[0], view.row.box.bottom + room)
    box = Box(view.box.x, top, view.box.width, bottom - top)
    return _remove_pixels(overlays, np.ones((box.height, box.width), np.bool_), box, video.samples.shape)


def _remove_pixels(overlays: Sequence[Overlay], region: Mask, place: Box, shape: Shape) -> list[Overlay]:
    """Return ``overlays`` without ``region`` of ``place``; overlays without pixels are dropped."""
    kept_overlays = []
    for overlay in overlays:
        removed = crop_or_pad(region, place, overlay.box)
        kept = overlay if not removed.any() else replace(overlay, layers=_cut_layers(overlay.layers, removed, shape))
        if any(layer.mask.any() for layer in kept.layers):
            kept_overlays.append(kept)
    return kept_overlays


def _cut_layers(layers: Sequence[Layer], removed: Mask, shape: Shape) -> tuple[Layer, ...]:
    """Return ``layers`` without the pixels ``removed``; chroma samples with other pixels stay."""
    layers_left = []
    luma = layers[0].mask & ~removed
    for number, layer in enumerate(layers):
        mask = layer.mask & reduce_mask(luma, shape, number)
        alpha, color = np.where(mask, layer.alpha, np.float32(0)), np.where(mask, layer.color, np.float32(np.nan))
        layers_left.append(Layer(np.asarray(mask), alpha.astype(np.float32), color.astype(np.float32)))
    return tuple(layers_left)


def _find_changing(video: _Video, view: RowView) -> list[_Place]:
    """Return the places of the row whose letters change, with their letters over time."""
    lag = max(_MIN_LAG, round(_LAG_SECONDS * video.rate))
    counter = ChangeCounter(view)
    for part in _choose_parts(video):
        for change, _ in _find_changes(video, view, lag, part):
            counter.add(change)
    blocks = list(counter.find_blocks())
    if not blocks:
        return []
    parts = _choose_parts(video) if video.is_long else [range(video.frames)]
    places = [_Place(block, ()) for block in blocks]
    for part in parts:
        read = _read_glyphs(video, view, lag, part, blocks)
        places = [replace(place, glyphs=place.glyphs + glyphs) for place, glyphs in zip(places, read, strict=True)]
    return _select_places(video, view, places)


def _choose_parts(video: _Video) -> list[range]:
    """Return runs of consecutive frames, spread through the video."""
    length = round(_PART_SECONDS * video.rate)
    if video.frames <= _PARTS * length:
        return [range(video.frames)]
    starts = np.linspace(0, video.frames - length, _PARTS).round().astype(int).tolist()
    return [range(start, start + length) for start in starts]


def _find_changes(
    video: _Video, view: RowView, lag: int, part: range, readers: Sequence[GlyphReader] = ()
) -> Iterator[tuple[Change, Sequence[GlyphReader]]]:
    """Yield the changes of the row in a run of frames; ``readers`` receive the frames."""
    finder = ChangeFinder(view.row, lag)
    for index, planes in read_frames(video.path, video.survey, list(part)):
        frame, weights = view.read(planes)
        for reader in readers:
            reader.push(index, frame, weights)
        change = finder.push(index, view.measure_ink(frame, weights))
        if change is not None:
            yield change, readers
    for change in finder.flush():
        yield change, readers


def _read_glyphs(
    video: _Video, view: RowView, lag: int, part: range, blocks: Sequence[Block]
) -> list[tuple[Glyph, ...]]:
    """Return the letters of each block in a run of frames."""
    readers = [GlyphReader(view, block, part.start) for block in blocks]
    glyphs: list[list[Glyph]] = [[] for _ in blocks]
    for change, _ in _find_changes(video, view, lag, part, readers):
        for reader, block, own in zip(readers, blocks, glyphs, strict=True):
            if is_changed(change, block):
                own.extend(reader.close(change.frame))
    for reader, own in zip(readers, glyphs, strict=True):
        own.extend(reader.close(part.stop))
    return [tuple(own) for own in glyphs]


def _select_places(video: _Video, view: RowView, places: Sequence[_Place]) -> list[_Place]:
    """Return the places with changing letters of the row, with their letters separated if they are clear."""
    believed = []
    left, right = view.row.box.x - view.box.x, view.row.box.right - view.box.x
    for place in sorted(places, key=lambda place: max(left - place.block.end, place.block.start - right)):
        is_near = place.block.start - right <= _MAX_GAP * view.row.height
        is_near &= left - place.block.end <= _MAX_GAP * view.row.height
        glyphs = merge_glyphs(list(place.glyphs))
        if is_near and _is_stable(place.glyphs, _STAY_SECONDS * video.rate) and _is_text(view, glyphs):
            left, right = min(left, place.block.start), max(right, place.block.end)
            kept = _merge_over_time(video, glyphs) if video.is_long else _select_glyphs(view, glyphs)
            believed.append(_Place(place.block, tuple(kept)))
    return believed


def _is_stable(glyphs: Sequence[Glyph], min_frames: float) -> bool:
    """Return True if most letters stay for ``min_frames``; moving backgrounds change all the time."""
    lengths = [part.end_frame - part.start_frame for glyph in merge_glyphs(glyphs, ALIKE) for part in glyph.shown]
    return sum(length for length in lengths if length >= min_frames) >= _MAJORITY * sum(lengths)


def _is_text(view: RowView, glyphs: Sequence[Glyph]) -> bool:
    """Return True if there are several letters of the ink in the row, and no letter lasts."""
    total = sum(_count_frames(glyph) for glyph in glyphs)
    letters = [glyph for glyph in glyphs if glyph.mask.any() and _is_good(view, glyph)]
    good = sum(_count_frames(glyph) for glyph in letters)
    written = sum(_count_frames(glyph) for glyph in glyphs if glyph.mask.any())
    top, bottom = _get_rows(view)
    limit = max(_SAMPLE_PX, _SAME_ROWS * view.row.height)
    aligned = 0
    for glyph in letters:
        rows = np.flatnonzero((glyph.alpha > _CORE * view.row.opacity).any(axis=1))
        aligned += _count_frames(glyph) if abs(rows[0] - top) <= limit and abs(rows[-1] + 1 - bottom) <= limit else 0
    lasts = max((_count_frames(glyph) for glyph in merge_glyphs(glyphs, ALIKE)), default=0) >= _LASTS * total
    return not lasts and good >= _MAJORITY * written and aligned >= _MAJORITY * good and good > 0


def _is_good(view: RowView, glyph: Glyph) -> bool:
    return glyph.explained >= _MIN_EXPLAINED and glyph.is_clear(view.row.opacity)


def _count_frames(glyph: Glyph) -> int:
    return sum(part.end_frame - part.start_frame for part in glyph.shown)


def _select_glyphs(view: RowView, glyphs: Sequence[Glyph]) -> Iterator[Glyph]:
    """Yield each letter with its own shape; unclear ones touch all pixels that others do, with unknown opacity."""
    union = np.logical_or.reduce([glyph.mask for glyph in glyphs if _is_good(view, glyph)])
    for glyph in glyphs:
        if not glyph.mask.any() and glyph.is_clear(view.row.opacity):
            continue
        yield (
            glyph if _is_good(view, glyph) else replace(glyph, mask=union, alpha=np.where(union, np.float32(np.nan), 0))
        )


def _merge_over_time(video: _Video, glyphs: Sequence[Glyph]) -> Iterator[Glyph]:
    """Yield all letters as one that shows in every frame, with unknown opacity."""
    union = np.logical_or.reduce([glyph.mask for glyph in glyphs])
    alpha = np.where(union, np.float32(np.nan), np.float32(0))
    yield replace(glyphs[0], mask=union, alpha=alpha, shown=(FrameRange(0, video.frames),))


def _make_overlay(view: RowView, video: _Video, place: Block, glyph: Glyph, line: Overlay) -> Overlay:
    """Return the letter as an overlay of the row's ink; its opacity is unknown if the row's is."""
    shape, row = video.samples.shape, view.row
    whole = Box(view.box.x + place.start, view.box.y, place.end - place.start, view.box.height)
    box = align_box(whole, shape, video.size[1], video.size[0])
    mask, alpha = crop_or_pad(glyph.mask, whole, box), np.where(glyph.mask, glyph.alpha, np.float32(0))
    unit = np.float32(1 << (shape.bits - 8))
    page = np.zeros(mask.shape, np.float32)
    page[mask] = alpha[glyph.mask]
    layers = []
    for number, color in enumerate((row.color * unit).tolist()):
        part = reduce_mask(mask, shape, number)
        small = np.where(part, average_blocks(page, shape.divisors[number]), 0).astype(np.float32)
        small[part & ~np.bool_(line.is_known)] = np.nan
        own = np.where(part & np.isfinite(small), np.float32(color), np.float32(np.nan))
        layers.append(Layer(part, small, own))
    return Overlay(box, tuple(layers), glyph.shown, "static", line.confidence)
