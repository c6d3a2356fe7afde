"""Columns of the figures of a sample and of a split, with their units and descriptions.

They are declared only here; the files, the documentation and its test follow this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Type: TypeAlias = Literal["string", "int64", "float64", "bool"]

SEPARATOR = ";"  # between the paths of a cell


@dataclass(frozen=True)
class Column:
    """One column of ``extraction_metrics.csv``. ``unit`` is in plain text; empty if there is none."""

    name: str
    type: Type
    unit: str
    description: str


_SHARE = "share, 0 to 1"
_NO_PART = "empty if the model does not detect it"

SAMPLE = (
    Column("id", "string", "", "Id of the item, as in `items.parquet`"),
    Column("name", "string", "", "Name of the sample in its collection"),
    Column("file_name", "string", "", "Name of its files: `name` made safe as a file name"),
    Column("path", "string", "", "Path of its video or image folder, relative to `--input`"),
    Column("outcome", "string", "", "`done` in this run, or `cached` from an earlier one"),
    Column("annotation", "string", "", "Annotation in the collection's corpus"),
    Column("outputs", "string", "", f"Its output files, relative to the output folder, separated by `{SEPARATOR}`"),
    Column("seconds", "float64", "s", "Wall time of the item, in the run that processed it"),
    Column("cpu_seconds", "float64", "s", "CPU time of the item, in the run that processed it"),
    Column("frames_per_second", "float64", "frames/s", "Speed of the extraction: `frames` / `seconds`"),
)

QUALITY = (
    Column("frames", "int64", "frames", "Frames of the sample, including bad ones"),
    Column("bad_frames", "int64", "frames", "Frames that could not be read; their points are missing"),
    Column(
        "duration_seconds",
        "float64",
        "s",
        "Time from the first frame to the end of the last, which lasts 1/`video_fps`",
    ),
    Column("video_fps", "float64", "frames/s", "Frame rate of the video or the collection"),
    Column("pose_coverage", "float64", _SHARE, f"Frames with a detected pose; {_NO_PART} (true for all figures)"),
    Column("face_coverage", "float64", _SHARE, "Frames with a detected face"),
    Column("left_hand_coverage", "float64", _SHARE, "Frames with a detected left hand (the person's own)"),
    Column("right_hand_coverage", "float64", _SHARE, "Frames with a detected right hand (the person's own)"),
    Column("hand_coverage", "float64", _SHARE, "Detected hands / two per frame: the mean of the two columns above"),
    Column("any_hand_coverage", "float64", _SHARE, "Frames with at least one detected hand"),
    Column("rescued_hand_coverage", "float64", _SHARE, "Share of `hand_coverage` from the hand rescue"),
    Column("longest_gap_frames", "int64", "frames", "Maximum consecutive frames without a part, including the ends"),
    Column("left_hand_longest_gap_frames", "int64", "frames", "Maximum consecutive frames without the left hand"),
    Column("right_hand_longest_gap_frames", "int64", "frames", "Maximum consecutive frames without the right hand"),
    Column(
        "hand_swaps",
        "int64",
        "swaps",
        "Number of times that the hands swap their labels from one frame to the next: with swapped labels, the hands "
        "are, point by point, at most half as far from their positions in the last 0.2 s or the last frame, and half a "
        "palm length per hand nearer. A hand without an earlier position counts as one palm length away. A swap and "
        "its return count as two",
    ),
    Column(
        "wrong_wrist_frames",
        "int64",
        "frames",
        "Frames in which a hand's wrist is at least twice as near to the pose's other wrist as to its own, while the "
        "pose's wrists are more than a palm length apart",
    ),
    Column(
        "doubled_hand_frames",
        "int64",
        "frames",
        "Frames in which both hands are, point by point, less than half a palm length apart on average: one hand that "
        "was detected twice, which `hand_coverage` counts as two",
    ),
    Column(
        "wrist_hand_distance_shoulder_widths",
        "float64",
        "shoulder widths",
        "Distance from a hand's wrist to the same wrist of the pose: median over frames and hands",
    ),
    Column(
        "pose_jitter_shoulder_widths",
        "float64",
        "shoulder widths",
        "Standard deviation per coordinate of white noise with the same jitter: the median of |p(t+1) - 2 p(t) + "
        "p(t-1)| over points and frames, divided by √(12 ln 2), for points with a visibility of 0.5 or more (after "
        "DER_SNR, Stoehr et al. 2008). Fast movement counts, more so at low frame rates",
    ),
    Column(
        "face_jitter_eye_distances",
        "float64",
        "eye distances",
        "Same for the face; the unit is the median distance between the outer corners of the eyes",
    ),
    Column(
        "left_hand_jitter_palm_lengths",
        "float64",
        "palm lengths",
        "Same for the left hand; the unit is its median distance from the wrist to the knuckle of the middle finger",
    ),
    Column("right_hand_jitter_palm_lengths", "float64", "palm lengths", "Same for the right hand"),
    Column(
        "person_jumps",
        "int64",
        "jumps",
        "Movements of the shoulder midpoint by more than 10 shoulder widths per second (about 4 m/s) and more than "
        "half a shoulder width: another person, or a cut",
    ),
    Column(
        "shoulder_width_px",
        "float64",
        "px",
        "Median distance of the shoulders, the unit of `--normalize shoulders`; empty without shoulders, and then "
        "every point of the normalized sample is missing",
    ),
)

CONVERSION = (
    Column("pixel_aspect", "float64", "", "Width of a stored pixel / its height; landmarks are found in square pixels"),
    Column("interlaced_frames", "int64", "frames", "Frames that the video marks as interlaced; they are deinterlaced"),
    Column(
        "image_bits",
        "int64",
        "bits",
        "Bits per channel that the sample's 16-bit images use: their values are scaled by them; empty for other images",
    ),
)

DAMAGE = (
    Column(
        "truncated", "bool", "", "True if the end of the video file is missing; the sample has the remaining frames"
    ),
    Column("missing", "string", "", "Evidence that the end is missing; empty for complete files"),
    Column(
        "stated_seconds",
        "float64",
        "s",
        "Duration of a truncated video according to its container; empty if unknown, and for complete videos",
    ),
)

COLUMNS = (*SAMPLE, *QUALITY, *CONVERSION, *DAMAGE)

SUMMARY_KEYS = {
    "split": "Name of the split",
    "samples": "Number of samples: `total`, `done`, `cached`, `failed`, `remaining` (not attempted)",
    "frames": "Frames of the samples that were processed in this run",
    "sequential_seconds": "Sum of the wall times of this split's items that ran in this run, including failed ones",
    "cpu_seconds": "CPU time of these items",
    "cached": "`frames`, `sequential_seconds` and `cpu_seconds` of cached samples in the runs that processed them",
    "wall_seconds": "Wall time of this run, all splits",
    "run_sequential_seconds": "`sequential_seconds` of all splits of this run together",
    "speedup": "`run_sequential_seconds` / `wall_seconds`; null if no item ran",
    "frames_per_second": "`mean`, `median`, `p5`, `p95`, `min`, `max` over the samples processed in this run, or null",
    "coverage": "`mean`, `median`, `min` over the samples done and cached, for `pose`, `face`, `hand` and `any_hand`; "
    "null if the model does not detect it",
    "without_person": "Samples without any detected part in any frame",
    "failure_kinds": "Number of failed samples per kind",
    "workers": "Slots of this run",
    "models": "sha256 of each model file, by name",
}


def render_columns(columns: Iterable[Column] = COLUMNS) -> str:
    """Return the columns as a Markdown table."""
    head = "| column | unit | description |\n| --- | --- | --- |\n"
    return head + "".join(
        f"| `{column.name}` | {column.unit} | {_escape_cell(column.description)} |\n" for column in columns
    )


def render_summary_keys() -> str:
    """Return the keys of the summary as a Markdown table."""
    return "| key | description |\n| --- | --- |\n" + "".join(
        f"| `{key}` | {_escape_cell(text)} |\n" for key, text in SUMMARY_KEYS.items()
    )


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|")
