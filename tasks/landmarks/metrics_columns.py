"""The figures of a sample and of a split: every column and key, with its unit and what it is.

This is the one place that declares them; the files, the documentation and its test follow it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Type: TypeAlias = Literal["string", "int64", "float64", "bool"]

SEPARATOR = ";"  # between the paths of a cell


@dataclass(frozen=True)
class Column:
    """One column of ``extraction_metrics.csv``. ``unit`` is as people write it; empty where there is none."""

    name: str
    type: Type
    unit: str
    description: str


_SHARE = "share, 0 to 1"
_NO_PART = "empty where the model does not look for it"

SAMPLE = (
    Column("id", "string", "", "The item's id, as in `items.parquet`"),
    Column("name", "string", "", "The sample, as its collection names it"),
    Column("file_name", "string", "", "The same, safe as a file name: what its files are called"),
    Column("path", "string", "", "Its video or folder of pictures, relative to `--input`"),
    Column("outcome", "string", "", "`done` in this run, or `cached` from an earlier one"),
    Column("annotation", "string", "", "What the collection's corpus says of it"),
    Column("outputs", "string", "", f"Its files, relative to the output folder, joined by `{SEPARATOR}`"),
    Column("seconds", "float64", "s", "Wall time of the item, in the run that did it"),
    Column("cpu_seconds", "float64", "s", "CPU time of the item, in the run that did it"),
    Column("frames_per_second", "float64", "frames/s", "Speed of the extraction: `frames` over `seconds`"),
)

QUALITY = (
    Column("frames", "int64", "frames", "Frames of the sample, bad ones included"),
    Column("bad_frames", "int64", "frames", "Those that could not be read: their points are missing"),
    Column(
        "duration_seconds", "float64", "s", "From the first frame to the end of the last, which lasts 1/`video_fps`"
    ),
    Column("video_fps", "float64", "frames/s", "Frame rate of the video or the collection"),
    Column("pose_coverage", "float64", _SHARE, f"Frames in which the pose was found; {_NO_PART}, so for all figures"),
    Column("face_coverage", "float64", _SHARE, "Frames in which the face was found"),
    Column("left_hand_coverage", "float64", _SHARE, "Frames in which the person's left hand was found"),
    Column("right_hand_coverage", "float64", _SHARE, "Frames in which the person's right hand was found"),
    Column("hand_coverage", "float64", _SHARE, "Hands found over two a frame: the mean of the two above"),
    Column("any_hand_coverage", "float64", _SHARE, "Frames in which at least one hand was found"),
    Column("rescued_hand_coverage", "float64", _SHARE, "The part of `hand_coverage` that is owed to the second look"),
    Column("longest_gap_frames", "int64", "frames", "Most frames in a row without some part, at the ends too"),
    Column("left_hand_longest_gap_frames", "int64", "frames", "Most frames in a row without the left hand"),
    Column("right_hand_longest_gap_frames", "int64", "frames", "Most frames in a row without the right hand"),
    Column(
        "hand_swaps",
        "int64",
        "swaps",
        "How often the hands exchange their names from one frame to the next: exchanged, the hands lie, point by "
        "point, at most half as far from where they were in the last 0.2 s or the last frame, and half a palm length a "
        "hand nearer. A hand that was not there counts as one palm length away. A swap and its return are two",
    ),
    Column(
        "wrong_wrist_frames",
        "int64",
        "frames",
        "Frames in which a hand's wrist is at least twice as near to the pose's other wrist as to its own, and these "
        "are more than a palm length apart",
    ),
    Column(
        "doubled_hand_frames",
        "int64",
        "frames",
        "Frames in which both hands lie, point by point, less than half a palm length apart in the mean: one hand "
        "found twice, which `hand_coverage` counts as two",
    ),
    Column(
        "wrist_hand_distance_shoulder_widths",
        "float64",
        "shoulder widths",
        "From a hand's wrist to the same wrist of the pose, the median over frames and hands",
    ),
    Column(
        "pose_jitter_shoulder_widths",
        "float64",
        "shoulder widths",
        "Standard deviation a coordinate of the white noise that shakes the points as much: the median of |p(t+1) - "
        "2 p(t) + p(t-1)| over points and frames, over √(12 ln 2). Points of visibility 0.5 and more (after DER_SNR, "
        "Stoehr et al. 2008). Quick movement counts in, more so at few frames a second: compare samples of like rates",
    ),
    Column(
        "face_jitter_eye_distances",
        "float64",
        "eye distances",
        "The same of the face; the unit is the median distance between the outer corners of the eyes",
    ),
    Column(
        "left_hand_jitter_palm_lengths",
        "float64",
        "palm lengths",
        "The same of the left hand; the unit is its median distance from wrist to knuckle of the middle finger",
    ),
    Column("right_hand_jitter_palm_lengths", "float64", "palm lengths", "The same of the right hand"),
    Column(
        "person_jumps",
        "int64",
        "jumps",
        "Steps of the middle between the shoulders by more than 10 shoulder widths a second (about 4 m/s) and more "
        "than half a shoulder width: another person, or a cut",
    ),
    Column(
        "shoulder_width_px",
        "float64",
        "px",
        "Median distance of the shoulders, the unit of `--normalize shoulders`; empty where none were found, and then "
        "every point of the normalised sample is missing",
    ),
)

DAMAGE = (
    Column("truncated", "bool", "", "True if the end of the video's file is missing; the sample has what is there"),
    Column("missing", "string", "", "Evidence that the end is missing; empty if it is not"),
    Column(
        "stated_seconds",
        "float64",
        "s",
        "Duration of a truncated video as its container states it; empty if it states none, and for whole videos",
    ),
)

COLUMNS = (*SAMPLE, *QUALITY, *DAMAGE)

SUMMARY_KEYS = {
    "split": "The split",
    "samples": "How many there are: `total`, `done`, `cached`, `failed`, `remaining` (not attempted)",
    "frames": "Frames of the samples done in this run",
    "sequential_seconds": "Sum of the wall times of this split's items that ran in this run, failed ones too",
    "cpu_seconds": "Their CPU time",
    "cached": "`frames`, `sequential_seconds` and `cpu_seconds` of the cached samples, from the runs that did them",
    "wall_seconds": "Wall time of this run, all splits",
    "run_sequential_seconds": "`sequential_seconds` of all splits of this run together",
    "speedup": "`run_sequential_seconds` over `wall_seconds`; null where nothing ran",
    "frames_per_second": "`mean`, `median`, `p5`, `p95`, `min`, `max` over the samples done in this run; null for none",
    "coverage": "`mean`, `median`, `min` over the samples done and cached, for `pose`, `face`, `hand` and `any_hand`; "
    "null where the model does not look for it",
    "without_person": "Samples in which no part was found in any frame",
    "failure_kinds": "How many samples failed of each kind",
    "workers": "Slots of this run",
    "models": "sha256 of each model file, by name",
}


def markdown(columns: Iterable[Column] = COLUMNS) -> str:
    """The columns as a table for people."""
    head = "| column | unit | what it is |\n| --- | --- | --- |\n"
    return head + "".join(f"| `{column.name}` | {column.unit} | {_cell(column.description)} |\n" for column in columns)


def summary_markdown() -> str:
    """The keys of the summary as a table for people."""
    return "| key | what it is |\n| --- | --- |\n" + "".join(
        f"| `{key}` | {_cell(text)} |\n" for key, text in SUMMARY_KEYS.items()
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
