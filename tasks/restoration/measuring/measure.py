"""Diagnosis of a tape by measurements over a few windows spread through it."""

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
from tasks.restoration.measuring.audio import measure_audio
from tasks.restoration.measuring.borders import BorderMeter
from tasks.restoration.measuring.chroma import ChromaMeter, ChromaShift
from tasks.restoration.measuring.fields import FieldMeter, classify_window, decide_field_order, has_telecine
from tasks.restoration.measuring.frame_codes import FrameCodes, FrameConverter
from tasks.restoration.measuring.levels import LevelMeter, Levels
from tasks.restoration.measuring.noise import Noise, NoiseMeter
from tasks.restoration.measuring.tearing import TearMeter
from tasks.restoration.measuring.windows import choose_pairs, plan_windows, read_window

# Frame rate of 3:2 telecine: 29.97, within two percent.
_TELECINE_FPS = (29.4, 30.6)
# Minimum share of both interlaced and progressive frames in a mixed tape.
_MIXED_SHARE = 0.1


@dataclass(frozen=True)
class WindowMeasurement:
    """The measurements of a window. ``pairs`` are consecutive frames; a lone frame appears twice."""

    window: Window
    telecined: bool
    pairs: tuple[tuple[FrameCodes, FrameCodes], ...]
    is_lone: bool


@dataclass(frozen=True)
class Condition:
    """The combined measurements of all windows."""

    noise: Noise
    shift: ChromaShift
    torn_lines: int
    borders: Borders
    levels: Levels


class FrameMeters:
    """Measures single frames and pairs of frames, window by window."""

    def __init__(self) -> None:
        self._noise, self._chroma = NoiseMeter(), ChromaMeter()
        self._tears, self._borders = TearMeter(), BorderMeter()
        self._lumas: list[npt.NDArray[np.uint8]] = []  # levels are measured after the borders

    def add(self, measurement: WindowMeasurement) -> None:
        """Measure the frames of one window."""
        interlaced = measurement.telecined or decide_field_order(measurement.window) in {"tff", "bff"}
        for first, second in measurement.pairs:
            if not measurement.is_lone:
                self._noise.add((first, second))
            self._chroma.add(first, interlaced)
            self._tears.add(first.luma)
            self._borders.add(first.luma)
            self._lumas.append(np.clip(np.rint(first.luma), 0, 255).astype(np.uint8))

    def condition(self) -> Condition:
        """Return the combined measurements of the windows so far."""
        torn = self._tears.lines()
        borders, levels = self._borders.borders(torn), LevelMeter()
        for luma in self._lumas:
            levels.add(luma.astype(np.float32), borders, torn)
        noise = self._noise.noise()
        return Condition(noise, self._chroma.shift(), torn, borders, levels.levels(noise.luma))


def diagnose(path: Path, survey: Survey) -> Diagnosis:
    """Measure the tape at ``path``; ``survey`` is its survey.

    Only the windows are decoded, and damaged frames are skipped. A property that cannot be measured, because the tape
    is short, black or still, has the value of a good tape. Raises BadInput if no frame can be read.
    """
    meters, measurements = FrameMeters(), []
    with SegmentReader(path, survey) as reader:
        for window in plan_windows(survey.timeline):
            measurement = _measure_window(reader, window, survey)
            if measurement is not None:
                meters.add(measurement)
                measurements.append(
                    WindowMeasurement(measurement.window, measurement.telecined, (), measurement.is_lone)
                )
    if not measurements:
        raise BadInput(f"{path.name}: no frame can be decoded, so the tape cannot be diagnosed")
    return _make_diagnosis(path, survey, measurements, meters.condition())


def _measure_window(reader: SegmentReader, window: range, survey: Survey) -> WindowMeasurement | None:
    """Measure ``window``; return None if no frame can be read."""
    converter, fields = FrameConverter(survey.picture.color_range), FieldMeter()
    starts = set(choose_pairs(window))
    frame_codes: dict[int, FrameCodes] = {}
    frames = 0
    for part in read_window(reader, window):
        frames += 1
        fields.add(converter.read_luma(part.frame))
        if part.index in starts or part.index - 1 in starts or frames == 1:
            frame_codes[part.index] = converter.convert(part.frame)
    if not frame_codes:
        return None
    pairs = tuple(
        (frame_codes[start], frame_codes[start + 1])
        for start in sorted(starts)
        if {start, start + 1} <= frame_codes.keys()
    )
    lone = frame_codes[min(frame_codes)]
    series = fields.series()
    window_shares = classify_window(series, survey.timeline.seconds(window.start), frames)
    return WindowMeasurement(window_shares, has_telecine(series), pairs or ((lone, lone),), not pairs)


def _make_diagnosis(
    path: Path, survey: Survey, measurements: Sequence[WindowMeasurement], condition: Condition
) -> Diagnosis:
    picture, timeline = survey.picture, survey.timeline
    fps = len(timeline) / timeline.duration_seconds if timeline.duration_seconds else 0.0
    telecined = _TELECINE_FPS[0] < fps < _TELECINE_FPS[1] and _is_telecined(measurements)
    share = _calculate_interlaced_share(measurements)
    mixed = not telecined and _MIXED_SHARE <= share <= 1 - _MIXED_SHARE and _is_inconsistent(measurements)
    audio = measure_audio(path, [measurement.window.start_seconds for measurement in measurements])
    return Diagnosis(
        width_px=picture.width_px,
        height_px=picture.height_px,
        sample_aspect=f"{picture.sample_aspect.numerator}:{picture.sample_aspect.denominator}",
        fps=round(fps, 6),
        frames=len(timeline),
        duration_seconds=timeline.duration_seconds,
        field_order=_choose_field_order(measurements, survey, mixed or telecined),
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
        audio_channels=audio.channels,
        audio_rate_hz=audio.rate_hz,
        silent_channels=audio.silent_channels,
        windows=tuple(measurement.window for measurement in measurements),
    )


def _is_telecined(measurements: Sequence[WindowMeasurement]) -> bool:
    """Return True if most windows with motion have the cadence of film."""
    moving = [
        measurement
        for measurement in measurements
        if decide_field_order(measurement.window) is not None or measurement.telecined
    ]
    return bool(moving) and sum(measurement.telecined for measurement in moving) > len(moving) / 2


def _calculate_interlaced_share(measurements: Sequence[WindowMeasurement]) -> float:
    """Return the share of interlaced frames among the decided ones; 0 if all are undecided."""
    interlaced = sum(
        (measurement.window.tff_share + measurement.window.bff_share) * measurement.window.frames
        for measurement in measurements
    )
    progressive = sum(measurement.window.progressive_share * measurement.window.frames for measurement in measurements)
    decided = interlaced + progressive
    return round(interlaced / decided, 3) if decided else 0.0


def _is_inconsistent(measurements: Sequence[WindowMeasurement]) -> bool:
    orders = {decide_field_order(measurement.window) for measurement in measurements} - {None}
    return "progressive" in orders and len(orders) > 1


def _choose_field_order(measurements: Sequence[WindowMeasurement], survey: Survey, among_fields: bool) -> FieldOrder:
    """Return the order of most windows (interlaced ones only with ``among_fields``), else that in the file."""
    votes: dict[FieldOrder, int] = {"progressive": 0, "tff": 0, "bff": 0}
    for measurement in measurements:
        order = decide_field_order(measurement.window)
        if order is not None:
            votes[order] += 1
    if among_fields:
        votes["progressive"] = 0
    best = max(votes, key=lambda order: votes[order])
    stated: dict[str, FieldOrder] = {"tff": "tff", "bff": "bff"}
    return best if votes[best] else stated.get(survey.picture.field_order, "progressive")
