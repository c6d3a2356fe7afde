"""A tape's condition, measured over a few windows spread through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tasks.engine.contract.errors import BadInput
from tasks.media.segments.reading import SegmentReader
from tasks.media.segments.source import Survey
from tasks.restoration.diagnosis import Borders, Diagnosis, FieldOrder, Window
from tasks.restoration.measuring.borders import BorderMeter
from tasks.restoration.measuring.chroma import ChromaMeter, ChromaShift
from tasks.restoration.measuring.fields import FieldMeter, has_telecine, judge_window, verdict
from tasks.restoration.measuring.levels import LevelMeter, Levels
from tasks.restoration.measuring.noise import Noise, NoiseMeter
from tasks.restoration.measuring.pictures import Picture, PictureMaker
from tasks.restoration.measuring.sound import listen
from tasks.restoration.measuring.tearing import TearMeter
from tasks.restoration.measuring.windows import pair_starts, plan_windows, read_window

# Film frames a second that 3:2 telecine makes 29.97 of, within two per cent.
_TELECINE_FPS = (29.4, 30.6)
# Field orders are told from both sides of a change, where each side holds at least so much of the known frames.
_MIXED_SHARE = 0.1


@dataclass(frozen=True)
class Look:
    """One window as it was seen. ``pairs`` are pictures that follow each other; a lone frame stands with itself."""

    window: Window
    telecined: bool
    pairs: tuple[tuple[Picture, Picture], ...]
    is_lone: bool


@dataclass(frozen=True)
class Condition:
    """What all windows together tell of the picture."""

    noise: Noise
    shift: ChromaShift
    torn_lines: int
    borders: Borders
    levels: Levels


class PictureMeters:
    """Everything that is measured in single pictures and pairs of them, window by window."""

    def __init__(self) -> None:
        self._noise, self._chroma = NoiseMeter(), ChromaMeter()
        self._tears, self._borders = TearMeter(), BorderMeter()
        self._lumas: list[npt.NDArray[np.uint8]] = []  # levels are counted when borders are known

    def add(self, look: Look) -> None:
        """Measure the pictures of one window."""
        interlaced = look.telecined or verdict(look.window) in {"tff", "bff"}
        for first, second in look.pairs:
            if not look.is_lone:
                self._noise.add((first, second))
            self._chroma.add(first, interlaced)
            self._tears.add(first.luma)
            self._borders.add(first.luma)
            self._lumas.append(np.clip(np.rint(first.luma), 0, 255).astype(np.uint8))

    def condition(self) -> Condition:
        """What the windows so far tell together."""
        torn = self._tears.lines()
        borders, levels = self._borders.borders(torn), LevelMeter()
        for luma in self._lumas:
            levels.add(luma.astype(np.float32), borders, torn)
        noise = self._noise.noise()
        return Condition(noise, self._chroma.shift(), torn, borders, levels.levels(noise.luma))


def diagnose(path: Path, found: Survey) -> Diagnosis:
    """Measure the tape at ``path``, of which ``found`` is the survey.

    Only the windows are decoded. What a tape does not tell, being short, black or still, has the value of a sound one.
    Frames that are damaged are passed over. Raises BadInput where not one frame can be read.
    """
    meters, looks = PictureMeters(), []
    with SegmentReader(path, found) as reader:
        for window in plan_windows(found.timeline):
            look = _look(reader, window, found)
            if look is not None:
                meters.add(look)
                looks.append(Look(look.window, look.telecined, (), look.is_lone))
    if not looks:
        raise BadInput(f"{path.name}: no frame can be decoded, so nothing can be said of the tape")
    return _diagnosis(path, found, looks, meters.condition())


def _look(reader: SegmentReader, window: range, found: Survey) -> Look | None:
    """``window`` as it is seen; ``None`` where nothing of it can be read."""
    maker, fields = PictureMaker(found.picture.color_range), FieldMeter()
    starts = set(pair_starts(window))
    kept: dict[int, Picture] = {}
    frames = 0
    for part in read_window(reader, window):
        frames += 1
        fields.add(maker.luma(part.frame))
        if part.index in starts or part.index - 1 in starts or frames == 1:
            kept[part.index] = maker.picture(part.frame)
    if not kept:
        return None
    pairs = tuple((kept[start], kept[start + 1]) for start in sorted(starts) if {start, start + 1} <= kept.keys())
    lone = kept[min(kept)]
    series = fields.series()
    judged = judge_window(series, found.timeline.seconds(window.start), frames)
    return Look(judged, has_telecine(series), pairs or ((lone, lone),), not pairs)


def _diagnosis(path: Path, found: Survey, looks: Sequence[Look], condition: Condition) -> Diagnosis:
    picture, timeline = found.picture, found.timeline
    fps = len(timeline) / timeline.duration_seconds if timeline.duration_seconds else 0.0
    telecined = _TELECINE_FPS[0] < fps < _TELECINE_FPS[1] and _is_telecined(looks)
    share = _interlaced_share(looks)
    mixed = not telecined and _MIXED_SHARE <= share <= 1 - _MIXED_SHARE and _windows_disagree(looks)
    sound = listen(path, [look.window.start_seconds for look in looks])
    return Diagnosis(
        width_px=picture.width_px,
        height_px=picture.height_px,
        sample_aspect=f"{picture.sample_aspect.numerator}:{picture.sample_aspect.denominator}",
        fps=round(fps, 6),
        frames=len(timeline),
        duration_seconds=timeline.duration_seconds,
        field_order=_field_order(looks, found, mixed or telecined),
        interlaced_share=share,
        is_mixed=mixed,
        telecine="3:2" if telecined else "none",
        noise_luma=condition.noise.luma,
        noise_chroma=condition.noise.chroma,
        chroma_shift_x_px=condition.shift.x_px,
        chroma_shift_y_px=condition.shift.y_px,
        head_switching_lines=condition.torn_lines,
        borders=condition.borders,
        black_level=condition.levels.black,
        white_level=condition.levels.white,
        audio_channels=sound.channels,
        audio_rate_hz=sound.rate_hz,
        silent_channels=sound.silent_channels,
        windows=tuple(look.window for look in looks),
    )


def _is_telecined(looks: Sequence[Look]) -> bool:
    """Whether most of the windows that hold any movement have the cadence of film."""
    moving = [look for look in looks if verdict(look.window) is not None or look.telecined]
    return bool(moving) and sum(look.telecined for look in moving) > len(moving) / 2


def _interlaced_share(looks: Sequence[Look]) -> float:
    """Of the frames of which it is known; 0 where it is known of none."""
    interlaced = sum((look.window.tff_share + look.window.bff_share) * look.window.frames for look in looks)
    progressive = sum(look.window.progressive_share * look.window.frames for look in looks)
    known = interlaced + progressive
    return round(interlaced / known, 3) if known else 0.0


def _windows_disagree(looks: Sequence[Look]) -> bool:
    orders = {verdict(look.window) for look in looks} - {None}
    return "progressive" in orders and len(orders) > 1


def _field_order(looks: Sequence[Look], found: Survey, among_fields: bool) -> FieldOrder:
    """The order of most windows; with ``among_fields`` of those that hold fields; as the file says where none tells."""
    votes: dict[FieldOrder, int] = {"progressive": 0, "tff": 0, "bff": 0}
    for look in looks:
        order = verdict(look.window)
        if order is not None:
            votes[order] += 1
    if among_fields:
        votes["progressive"] = 0
    best = max(votes, key=lambda order: votes[order])
    stated: dict[str, FieldOrder] = {"tff": "tff", "bff": "bff"}
    return best if votes[best] else stated.get(found.picture.field_order, "progressive")
