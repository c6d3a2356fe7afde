"""How good the landmarks of a sample are, in figures that mean the same for every model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tasks.engine.contract.stage import Scalar
from tasks.landmarks.normalization import shoulders
from tasks.landmarks.points import HAND_NAMES, POSE_NAMES, PartName
from tasks.landmarks.sequence import LandmarkSequence, Source

Pixels = NDArray[np.float64]  # ..., (x, y)

_HANDS: tuple[PartName, PartName] = ("left_hand_landmarks", "right_hand_landmarks")
_WRISTS = [POSE_NAMES.index("left_wrist"), POSE_NAMES.index("right_wrist")]
_SHOULDERS = [POSE_NAMES.index("left_shoulder"), POSE_NAMES.index("right_shoulder")]
_PALM = [HAND_NAMES.index("wrist"), HAND_NAMES.index("middle_finger_mcp")]
_OUTER_EYE_CORNERS = [33, 263]  # of the face mesh
_ALL = slice(None)
_AT_A_TIME = 32  # points: the face of a long video would take a gigabyte at once

_VISIBLE = 0.5  # below, the pose model guesses where a point may be: legs under a table do not jitter
# Median length of a second difference of white noise in the plane, over its standard deviation a coordinate: the
# difference has a variance of 1 + 4 + 1, its length is Rayleigh's, whose median is the root of 2 ln 2.
_SECOND_DIFFERENCE = float(np.sqrt(6 * 2 * np.log(2)))

_MEMORY_SECONDS = 0.2  # how long the place of a lost hand is believed; always in the next frame
_UNKNOWN_PALMS = 1.0  # how far a hand is taken to have moved that has no place to compare with
_SWAP_SHARE = 0.5  # exchanged, the hands must fit at least twice as well,
_SWAP_PALMS = 0.5  # and by at least half a palm a hand: hands that touch are no swap

# One hand found twice: its points lie 0.1 to 0.35 palms apart; those of folded hands, in another order, 0.6 and more.
_DOUBLED_PALMS = 0.5

_JUMP_SHOULDERS_A_SECOND = 10.0  # about 4 m/s: no signer, but a runner, is faster
_JUMP_SHOULDERS = 0.5  # and a step between two frames is this long at least: estimates wobble


@dataclass(frozen=True)
class Quality:
    """Figures of one sample as its model found it, before gaps are filled. None where a figure is not defined.

    What each is, with its unit and formula, is declared in ``metrics_columns.py``.
    """

    frames: int
    bad_frames: int
    duration_seconds: float
    video_fps: float
    pose_coverage: float | None
    face_coverage: float | None
    left_hand_coverage: float | None
    right_hand_coverage: float | None
    hand_coverage: float | None
    any_hand_coverage: float | None
    rescued_hand_coverage: float | None
    longest_gap_frames: int | None
    left_hand_longest_gap_frames: int | None
    right_hand_longest_gap_frames: int | None
    hand_swaps: int | None
    wrong_wrist_frames: int | None
    doubled_hand_frames: int | None
    wrist_hand_distance_shoulder_widths: float | None
    pose_jitter_shoulder_widths: float | None
    face_jitter_eye_distances: float | None
    left_hand_jitter_palm_lengths: float | None
    right_hand_jitter_palm_lengths: float | None
    person_jumps: int | None
    shoulder_width_px: float | None


def values(quality: Quality) -> dict[str, Scalar]:
    """The figures by name, as a stage reports them; the same names for every model."""
    return cast("dict[str, Scalar]", asdict(quality))


def measure(sequence: LandmarkSequence) -> Quality:
    """The figures of ``sequence``, which is as the model found it: in shares of the picture, with no gap filled.

    A part counts as found in a frame where the model detected it or a second look rescued it.
    """
    view = _View(sequence)
    left, right = (view.found(name) for name in _HANDS)
    frame = shoulders(sequence)
    width = None if frame is None else frame.width_px
    gaps = [_longest_run(~found) for found in map(view.found, _names(sequence)) if found is not None]
    palms = [view.palm(name) for name in _HANDS]
    return Quality(
        frames=sequence.frames,
        bad_frames=len(sequence.bad_frames),
        duration_seconds=_duration(sequence),
        video_fps=float(sequence.fps),
        pose_coverage=_share(view.found("pose_landmarks")),
        face_coverage=_share(view.found("face_landmarks")),
        left_hand_coverage=_share(left),
        right_hand_coverage=_share(right),
        hand_coverage=None if left is None or right is None else _share(np.concatenate([left, right])),
        any_hand_coverage=None if left is None or right is None else _share(left | right),
        rescued_hand_coverage=_rescued(view),
        longest_gap_frames=max(gaps, default=None),
        left_hand_longest_gap_frames=None if left is None else _longest_run(~left),
        right_hand_longest_gap_frames=None if right is None else _longest_run(~right),
        hand_swaps=None if left is None else _hand_swaps(view),
        wrong_wrist_frames=_wrong_wrist_frames(view),
        doubled_hand_frames=None if left is None else _doubled_hand_frames(view),
        wrist_hand_distance_shoulder_widths=_over(_wrist_hand_distance(view), width),
        pose_jitter_shoulder_widths=_over(_jitter(view, "pose_landmarks"), width),
        face_jitter_eye_distances=_over(_jitter(view, "face_landmarks"), view.eye_distance()),
        left_hand_jitter_palm_lengths=_over(_jitter(view, _HANDS[0]), palms[0]),
        right_hand_jitter_palm_lengths=_over(_jitter(view, _HANDS[1]), palms[1]),
        person_jumps=_person_jumps(view, width),
        shoulder_width_px=width,
    )


class _View:
    """A sequence in square pixels, with what was not found as NaN."""

    def __init__(self, sequence: LandmarkSequence) -> None:
        self.sequence = sequence
        self.times = sequence.times_seconds

    def found(self, name: PartName) -> NDArray[np.bool_] | None:
        """bool [frames]; None where the model does not look for the part."""
        return self._has(name, Source.DETECTED, Source.RESCUED)

    def rescued(self, name: PartName) -> NDArray[np.bool_] | None:
        """bool [frames]; likewise."""
        return self._has(name, Source.RESCUED)

    def xy(self, name: PartName, chosen: slice | list[int] = _ALL) -> Pixels | None:
        """float64 [frames, chosen points of the part, 2]; None where the model does not look for the part."""
        points, found = self.sequence.get_part_points(name), self.found(name)
        if points is None or found is None:
            return None
        xy = points[:, chosen, :2].astype(np.float64) * (self.sequence.width_px, self.sequence.height_px)
        xy[~found] = np.nan
        return xy

    def guessed(self, name: PartName, chosen: slice) -> NDArray[np.bool_]:
        """bool [frames, chosen points]: where the model says that a point is hidden or outside of the picture."""
        points = self.sequence.get_part_points(name)
        assert points is not None
        return np.asarray(points[:, chosen, 3] < _VISIBLE)

    def palm(self, name: PartName) -> float | None:
        """Median distance in pixels from a hand's wrist to the knuckle of its middle finger."""
        return _median_distance(self.xy(name, _PALM))

    def eye_distance(self) -> float | None:
        """Median distance in pixels between the outer corners of the eyes."""
        return _median_distance(self.xy("face_landmarks", _OUTER_EYE_CORNERS))

    def _has(self, name: PartName, *sources: Source) -> NDArray[np.bool_] | None:
        if self.sequence.skeleton.find_part(name) is None:
            return None
        return np.isin(self.sequence.source[:, self.sequence.skeleton.get_index(name)], sources)


def _names(sequence: LandmarkSequence) -> list[PartName]:
    return [part.name for part in sequence.skeleton.parts]


def _duration(sequence: LandmarkSequence) -> float:
    """From the first frame's showing to the end of the last, which is shown for 1/fps."""
    if not sequence.frames:
        return 0.0
    return float(sequence.times_seconds[-1] - sequence.times_seconds[0] + 1 / sequence.fps)


def _share(found: NDArray[np.bool_] | None) -> float | None:
    return None if found is None or not len(found) else float(found.mean())


def _rescued(view: _View) -> float | None:
    rescued = [rescued for rescued in map(view.rescued, _HANDS) if rescued is not None]
    return _share(np.concatenate(rescued)) if rescued else None


def _longest_run(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _over(value: float | None, unit: float | None) -> float | None:
    return None if value is None or unit is None or unit <= 0 else value / unit


def _median(lengths: NDArray[np.floating[Any]]) -> float | None:
    known = lengths[np.isfinite(lengths)]
    return float(np.median(known)) if known.size else None


def _median_distance(ends: Pixels | None) -> float | None:
    """``ends`` is float64 [frames, 2 points, (x, y)]."""
    return None if ends is None else _median(_length(ends[:, 0] - ends[:, 1]))


def _length(vectors: Pixels) -> Pixels:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _jitter(view: _View, name: PartName) -> float | None:
    """Standard deviation in pixels, a coordinate, of the white noise that would shake the points as much as this.

    Median length of ``p[t+1] - 2 p[t] + p[t-1]`` over points and triples of frames that all have them, over that of
    white noise of 1. Steady movement has no second difference, and short jerks move no median; but of a person who
    never rests, at few frames a second, movement counts in. After DER_SNR (Stoehr et al. 2008), which takes a
    spectrum's noise from such differences; here in the plane, and of next neighbours.
    """
    part = view.sequence.skeleton.find_part(name)
    if part is None:
        return None
    starts = range(0, part.points, _AT_A_TIME)
    lengths = [_second_differences(view, name, slice(start, start + _AT_A_TIME)) for start in starts]
    median = _median(np.concatenate(lengths, axis=1))
    return None if median is None else median / _SECOND_DIFFERENCE


def _second_differences(view: _View, name: PartName, chosen: slice) -> NDArray[np.float32]:
    """Their lengths in pixels: [frames - 2, chosen points]."""
    xy = view.xy(name, chosen)
    assert xy is not None
    xy[view.guessed(name, chosen)] = np.nan
    return _length(xy[2:] - 2 * xy[1:-1] + xy[:-2]).astype(np.float32)


def _wrist_hand_distance(view: _View) -> float | None:
    """Median in pixels over frames and hands, from the wrist of the hand to that of the pose."""
    pairs = _wrists(view)
    return None if pairs is None else _median(_length(pairs[0] - pairs[1]))


def _wrong_wrist_frames(view: _View) -> int | None:
    """Frames in which a hand lies at least twice as near to the other wrist of the pose as to its own."""
    pairs = _wrists(view)
    if pairs is None:
        return None
    hands, wrists = pairs
    own, other = _length(hands - wrists), _length(hands - wrists[:, ::-1])
    apart = _length(wrists[:, 0] - wrists[:, 1])[:, None]
    palm = _palm(view)
    clear = apart > (palm if palm is not None else 0.0)  # wrists that touch tell nothing
    return int(((other < _SWAP_SHARE * own) & clear).any(axis=1).sum())


def _doubled_hand_frames(view: _View) -> int:
    """Frames in which left and right are the same hand, by the mean distance of their points."""
    left, right, palm = view.xy(_HANDS[0]), view.xy(_HANDS[1]), _palm(view)
    if left is None or right is None or palm is None:
        return 0
    return int((_distance(left, right) < _DOUBLED_PALMS * palm).sum())


def _wrists(view: _View) -> tuple[Pixels, Pixels] | None:
    """The wrists of both hands, and of the pose: each float64 [frames, left and right, 2]."""
    pose, left, right = view.xy("pose_landmarks", _WRISTS), view.xy(_HANDS[0], [0]), view.xy(_HANDS[1], [0])
    if pose is None or left is None or right is None:
        return None
    return np.concatenate([left, right], axis=1), pose


def _palm(view: _View) -> float | None:
    known = [palm for palm in map(view.palm, _HANDS) if palm is not None]
    return max(known, default=None)


def _hand_swaps(view: _View) -> int:
    """How often the hands exchange their names from one frame to the next, by where they were.

    Hands are compared point by point, so that a left hand on a right one is no swap: their points lie in another
    order. Where only one hand is there, it has swapped its name if it lies where the other one just was and is gone.
    """
    left, right, palm = view.xy(_HANDS[0]), view.xy(_HANDS[1]), _palm(view)
    if left is None or right is None or palm is None:
        return 0
    hands = np.stack([left, right], axis=1)
    remembered = _remembered(hands, view.times, max(_MEMORY_SECONDS, 1.5 / view.sequence.fps))
    kept = np.where(_seen(hands), _distance(hands, remembered), 0.0)
    kept = np.where(np.isnan(kept), _UNKNOWN_PALMS * palm, kept).sum(axis=1)
    swapped = np.where(_seen(hands), _distance(hands, remembered[:, ::-1]), 0.0).sum(axis=1)
    least = _SWAP_PALMS * palm * _seen(hands).sum(axis=1)
    return int(((swapped < _SWAP_SHARE * kept) & (kept - swapped >= least) & (least > 0)).sum())


def _seen(hands: Pixels) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(hands[:, :, 0, 0]))


def _distance(one: Pixels, other: Pixels) -> Pixels:
    """Mean distance of their points; NaN where either is not there."""
    return np.asarray(_length(one - other).mean(axis=-1))


def _remembered(hands: Pixels, times: NDArray[np.float64], most_seconds: float) -> Pixels:
    """Where each hand was when it was last seen before each frame; NaN where that is longer ago than that."""
    seen = _seen(hands)
    last = np.maximum.accumulate(np.where(seen, np.arange(len(hands))[:, None], -1), axis=0)
    last = np.concatenate([np.full((1, 2), -1), last[:-1]])
    recent = (last >= 0) & (times[:, None] - times[last] <= most_seconds)
    places = np.take_along_axis(hands, np.maximum(last, 0)[:, :, None, None], axis=0)
    return np.where(recent[:, :, None, None], places, np.nan)


def _person_jumps(view: _View, width: float | None) -> int | None:
    """Steps of the middle between the shoulders that are too far for the time: a second person, or a cut.

    Too far is more than 10 shoulder widths a second (about 4 m/s), and more than half a shoulder width.
    """
    both = view.xy("pose_landmarks", _SHOULDERS)
    if both is None:
        return None
    middle = both.mean(axis=1)
    known = np.isfinite(middle).all(axis=1)
    if width is None or known.sum() < 2:
        return 0
    steps = _length(np.diff(middle[known], axis=0)) / width
    allowed = np.maximum(_JUMP_SHOULDERS, _JUMP_SHOULDERS_A_SECOND * np.diff(view.times[known]))
    return int((steps > allowed).sum())
