"""Quality figures of a sample's landmarks, comparable between models."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tasks.engine.contract.stage import Scalar
from tasks.landmarks.normalization import measure_shoulders
from tasks.landmarks.points import HAND_NAMES, POSE_NAMES, PartName
from tasks.landmarks.sequence import LandmarkSequence, Source

Pixels = NDArray[np.float64]  # ..., (x, y)

_HANDS: tuple[PartName, PartName] = ("left_hand_landmarks", "right_hand_landmarks")
_WRISTS = [POSE_NAMES.index("left_wrist"), POSE_NAMES.index("right_wrist")]
_SHOULDERS = [POSE_NAMES.index("left_shoulder"), POSE_NAMES.index("right_shoulder")]
_PALM = [HAND_NAMES.index("wrist"), HAND_NAMES.index("middle_finger_mcp")]
_OUTER_EYE_CORNERS = [33, 263]  # in the face mesh
_ALL = slice(None)
_POINTS_PER_BATCH = 32  # limits memory: the face of a long video would take a gigabyte

_VISIBLE = 0.5  # below, the position is a guess: legs under a table must not count as jitter
# Median length of a second difference of white noise in the plane, divided by its standard deviation per coordinate:
# the variance is 1 + 4 + 1, and the length has a Rayleigh distribution with the median sqrt(2 ln 2).
_SECOND_DIFFERENCE = float(np.sqrt(6 * 2 * np.log(2)))

_MEMORY_SECONDS = 0.2  # how long a lost hand's position is remembered; at least until the next frame
_UNKNOWN_PALMS = 1.0  # assumed movement of a hand without a remembered position
_SWAP_SHARE = 0.5  # swapped, the hands must fit at least twice as well,
_SWAP_PALMS = 0.5  # and by at least half a palm per hand, so that touching hands are not a swap

# Limit for a hand that was detected twice: its points are 0.1 to 0.35 palms apart, those of folded hands 0.6 or more.
_DOUBLED_PALMS = 0.5

_JUMP_SHOULDERS_PER_SECOND = 10.0  # about 4 m/s, faster than any signer
_JUMP_SHOULDERS = 0.5  # minimum length of a jump, because estimates are noisy


@dataclass(frozen=True)
class Quality:
    """Quality figures of one sample as detected, before gaps are filled. None if a figure is not defined.

    ``metrics_columns.py`` declares their units and formulas.
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


def list_figures(quality: Quality) -> dict[str, Scalar]:
    """Return the figures by name, as the stage reports them; the same names for every model."""
    return cast("dict[str, Scalar]", asdict(quality))


def measure_quality(sequence: LandmarkSequence) -> Quality:
    """Return the figures of ``sequence`` as detected: in shares of the image, with gaps.

    A part is detected in a frame if the model or the hand rescue found it.
    """
    view = _View(sequence)
    left, right = (view.find_detected(name) for name in _HANDS)
    frame = measure_shoulders(sequence)
    width = None if frame is None else frame.width_px
    gaps = [
        _measure_longest_run(~flags) for flags in map(view.find_detected, _list_parts(sequence)) if flags is not None
    ]
    palms = [view.measure_palm(name) for name in _HANDS]
    return Quality(
        frames=sequence.frames,
        bad_frames=len(sequence.bad_frames),
        duration_seconds=_compute_duration(sequence),
        video_fps=float(sequence.fps),
        pose_coverage=_compute_share(view.find_detected("pose_landmarks")),
        face_coverage=_compute_share(view.find_detected("face_landmarks")),
        left_hand_coverage=_compute_share(left),
        right_hand_coverage=_compute_share(right),
        hand_coverage=None if left is None or right is None else _compute_share(np.concatenate([left, right])),
        any_hand_coverage=None if left is None or right is None else _compute_share(left | right),
        rescued_hand_coverage=_compute_rescued_coverage(view),
        longest_gap_frames=max(gaps, default=None),
        left_hand_longest_gap_frames=None if left is None else _measure_longest_run(~left),
        right_hand_longest_gap_frames=None if right is None else _measure_longest_run(~right),
        hand_swaps=None if left is None else _count_hand_swaps(view),
        wrong_wrist_frames=_count_wrong_wrist_frames(view),
        doubled_hand_frames=None if left is None else _count_doubled_hand_frames(view),
        wrist_hand_distance_shoulder_widths=_divide(_measure_wrist_hand_distance(view), width),
        pose_jitter_shoulder_widths=_divide(_measure_jitter(view, "pose_landmarks"), width),
        face_jitter_eye_distances=_divide(_measure_jitter(view, "face_landmarks"), view.measure_eye_distance()),
        left_hand_jitter_palm_lengths=_divide(_measure_jitter(view, _HANDS[0]), palms[0]),
        right_hand_jitter_palm_lengths=_divide(_measure_jitter(view, _HANDS[1]), palms[1]),
        person_jumps=_count_person_jumps(view, width),
        shoulder_width_px=width,
    )


class _View:
    """A sequence in square pixels, with NaN for missing points."""

    def __init__(self, sequence: LandmarkSequence) -> None:
        self.sequence = sequence
        self.times = sequence.times_seconds

    def find_detected(self, name: PartName) -> NDArray[np.bool_] | None:
        """Return bool [frames]: detected or rescued; None if the model does not detect the part."""
        return self._match_sources(name, Source.DETECTED, Source.RESCUED)

    def find_rescued(self, name: PartName) -> NDArray[np.bool_] | None:
        """Return bool [frames]: rescued; None if the model does not detect the part."""
        return self._match_sources(name, Source.RESCUED)

    def get_pixels(self, name: PartName, chosen: slice | list[int] = _ALL) -> Pixels | None:
        """Return float64 [frames, chosen points of the part, 2]; None if the model does not detect the part."""
        points, detected = self.sequence.get_part_points(name), self.find_detected(name)
        if points is None or detected is None:
            return None
        xy = points[:, chosen, :2].astype(np.float64) * (self.sequence.width_px, self.sequence.height_px)
        xy[~detected] = np.nan
        return xy

    def find_guessed(self, name: PartName, chosen: slice) -> NDArray[np.bool_]:
        """Return bool [frames, chosen points]: True if the model reports the point as hidden or outside the image."""
        points = self.sequence.get_part_points(name)
        assert points is not None
        return np.asarray(points[:, chosen, 3] < _VISIBLE)

    def measure_palm(self, name: PartName) -> float | None:
        """Return the median distance in pixels from a hand's wrist to the knuckle of its middle finger."""
        return _measure_median_distance(self.get_pixels(name, _PALM))

    def measure_eye_distance(self) -> float | None:
        """Return the median distance in pixels between the outer corners of the eyes."""
        return _measure_median_distance(self.get_pixels("face_landmarks", _OUTER_EYE_CORNERS))

    def _match_sources(self, name: PartName, *sources: Source) -> NDArray[np.bool_] | None:
        if self.sequence.skeleton.find_part(name) is None:
            return None
        return np.isin(self.sequence.source[:, self.sequence.skeleton.get_index(name)], sources)


def _list_parts(sequence: LandmarkSequence) -> list[PartName]:
    return [part.name for part in sequence.skeleton.parts]


def _compute_duration(sequence: LandmarkSequence) -> float:
    """Return the time from the first frame to the end of the last one, which lasts 1/fps."""
    if not sequence.frames:
        return 0.0
    return float(sequence.times_seconds[-1] - sequence.times_seconds[0] + 1 / sequence.fps)


def _compute_share(flags: NDArray[np.bool_] | None) -> float | None:
    return None if flags is None or not len(flags) else float(flags.mean())


def _compute_rescued_coverage(view: _View) -> float | None:
    rescued = [rescued for rescued in map(view.find_rescued, _HANDS) if rescued is not None]
    return _compute_share(np.concatenate(rescued)) if rescued else None


def _measure_longest_run(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _divide(value: float | None, unit: float | None) -> float | None:
    return None if value is None or unit is None or unit <= 0 else value / unit


def _compute_median(lengths: NDArray[np.floating[Any]]) -> float | None:
    finite = lengths[np.isfinite(lengths)]
    return float(np.median(finite)) if finite.size else None


def _measure_median_distance(ends: Pixels | None) -> float | None:
    """Return the median distance between the two points of ``ends``, float64 [frames, 2 points, (x, y)]."""
    return None if ends is None else _compute_median(_compute_lengths(ends[:, 0] - ends[:, 1]))


def _compute_lengths(vectors: Pixels) -> Pixels:
    return np.hypot(vectors[..., 0], vectors[..., 1])


def _measure_jitter(view: _View, name: PartName) -> float | None:
    """Return the standard deviation in pixels, per coordinate, of white noise with the same jitter.

    It is the median length of ``p[t+1] - 2 p[t] + p[t-1]``, over all points and triples of frames that have them,
    divided by the same value for white noise of 1. Steady movement has no second difference, and short jerks do not
    change the median; constant movement at a low frame rate does count. After DER_SNR (Stoehr et al. 2008), which
    estimates a spectrum's noise from such differences; here for points in the plane and adjacent frames.
    """
    part = view.sequence.skeleton.find_part(name)
    if part is None:
        return None
    starts = range(0, part.points, _POINTS_PER_BATCH)
    lengths = [_compute_second_differences(view, name, slice(start, start + _POINTS_PER_BATCH)) for start in starts]
    median = _compute_median(np.concatenate(lengths, axis=1))
    return None if median is None else median / _SECOND_DIFFERENCE


def _compute_second_differences(view: _View, name: PartName, chosen: slice) -> NDArray[np.float32]:
    """Return the lengths of the second differences in pixels: [frames - 2, chosen points]."""
    xy = view.get_pixels(name, chosen)
    assert xy is not None
    xy[view.find_guessed(name, chosen)] = np.nan
    return _compute_lengths(xy[2:] - 2 * xy[1:-1] + xy[:-2]).astype(np.float32)


def _measure_wrist_hand_distance(view: _View) -> float | None:
    """Return the median distance in pixels, over frames and hands, from the hand's wrist to the pose's wrist."""
    pairs = _get_wrists(view)
    return None if pairs is None else _compute_median(_compute_lengths(pairs[0] - pairs[1]))


def _count_wrong_wrist_frames(view: _View) -> int | None:
    """Count the frames in which a hand is at least twice as near to the pose's other wrist as to its own."""
    pairs = _get_wrists(view)
    if pairs is None:
        return None
    hands, wrists = pairs
    own, other = _compute_lengths(hands - wrists), _compute_lengths(hands - wrists[:, ::-1])
    apart = _compute_lengths(wrists[:, 0] - wrists[:, 1])[:, None]
    palm = _measure_palm(view)
    is_clear = apart > (palm if palm is not None else 0.0)  # touching wrists are ambiguous
    return int(((other < _SWAP_SHARE * own) & is_clear).any(axis=1).sum())


def _count_doubled_hand_frames(view: _View) -> int:
    """Count the frames in which left and right are the same hand, by the mean distance of their points."""
    left, right, palm = view.get_pixels(_HANDS[0]), view.get_pixels(_HANDS[1]), _measure_palm(view)
    if left is None or right is None or palm is None:
        return 0
    return int((_compute_distances(left, right) < _DOUBLED_PALMS * palm).sum())


def _get_wrists(view: _View) -> tuple[Pixels, Pixels] | None:
    """Return the wrists of both hands and of the pose, each float64 [frames, left and right, 2]."""
    pose, left, right = (
        view.get_pixels("pose_landmarks", _WRISTS),
        view.get_pixels(_HANDS[0], [0]),
        view.get_pixels(_HANDS[1], [0]),
    )
    if pose is None or left is None or right is None:
        return None
    return np.concatenate([left, right], axis=1), pose


def _measure_palm(view: _View) -> float | None:
    palms = [palm for palm in map(view.measure_palm, _HANDS) if palm is not None]
    return max(palms, default=None)


def _count_hand_swaps(view: _View) -> int:
    """Count how often the hands swap their labels from one frame to the next, judged by their positions.

    Hands are compared point by point, so that a left hand on top of a right one is not a swap: their points are ordered
    differently. A single hand has swapped its label if it lies where the other hand just was before it disappeared.
    """
    left, right, palm = view.get_pixels(_HANDS[0]), view.get_pixels(_HANDS[1]), _measure_palm(view)
    if left is None or right is None or palm is None:
        return 0
    hands = np.stack([left, right], axis=1)
    remembered = _recall_positions(hands, view.times, max(_MEMORY_SECONDS, 1.5 / view.sequence.fps))
    kept = np.where(_find_present(hands), _compute_distances(hands, remembered), 0.0)
    kept = np.where(np.isnan(kept), _UNKNOWN_PALMS * palm, kept).sum(axis=1)
    swapped = np.where(_find_present(hands), _compute_distances(hands, remembered[:, ::-1]), 0.0).sum(axis=1)
    min_gain = _SWAP_PALMS * palm * _find_present(hands).sum(axis=1)
    return int(((swapped < _SWAP_SHARE * kept) & (kept - swapped >= min_gain) & (min_gain > 0)).sum())


def _find_present(hands: Pixels) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(hands[:, :, 0, 0]))


def _compute_distances(first: Pixels, second: Pixels) -> Pixels:
    """Return the mean distance of corresponding points; NaN if either hand is missing."""
    return np.asarray(_compute_lengths(first - second).mean(axis=-1))


def _recall_positions(hands: Pixels, times: NDArray[np.float64], max_seconds: float) -> Pixels:
    """Return each hand's last position before each frame; NaN if it is older than ``max_seconds``."""
    is_present = _find_present(hands)
    last = np.maximum.accumulate(np.where(is_present, np.arange(len(hands))[:, None], -1), axis=0)
    last = np.concatenate([np.full((1, 2), -1), last[:-1]])
    recent = (last >= 0) & (times[:, None] - times[last] <= max_seconds)
    places = np.take_along_axis(hands, np.maximum(last, 0)[:, :, None, None], axis=0)
    return np.where(recent[:, :, None, None], places, np.nan)


def _count_person_jumps(view: _View, width: float | None) -> int | None:
    """Count the movements of the shoulder midpoint that are too fast for one person: a second person, or a cut.

    A jump is faster than 10 shoulder widths per second (about 4 m/s) and longer than half a shoulder width.
    """
    both = view.get_pixels("pose_landmarks", _SHOULDERS)
    if both is None:
        return None
    middle = both.mean(axis=1)
    is_finite = np.isfinite(middle).all(axis=1)
    if width is None or is_finite.sum() < 2:
        return 0
    steps = _compute_lengths(np.diff(middle[is_finite], axis=0)) / width
    allowed = np.maximum(_JUMP_SHOULDERS, _JUMP_SHOULDERS_PER_SECOND * np.diff(view.times[is_finite]))
    return int((steps > allowed).sum())
