"""The dataset card: README.md with the contents and the metadata that ``datasets.load_dataset(folder)`` reads."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, TypeAlias

from tasks.engine.contract.text import markdown
from tasks.frames.columns import Type, list_features

Row: TypeAlias = Mapping[str, Any]
_MAX_LABELS = 1000
_FILES = {
    "jsonl": "{split}.jsonl",
    "parquet": "{split}-*.parquet",
    "lance": "{split}.lance/**",
    "webdataset": "{split}-*.tar",
    "imagefolder": "{split}/**",
}
_IMAGES_COLUMN = "The column `images` contains the frames of a sample in time order."
_READ = {
    "jsonl": "The paths of frames are relative to this folder.",
    "parquet": _IMAGES_COLUMN,
    "lance": _IMAGES_COLUMN,
    "webdataset": (
        "Each sample is `KEY.json` (its row) and `KEY.0000.jpg`, `KEY.0001.jpg`, ... KEY is the sample's id as in file "
        "names, with dots written as `%2E`."
    ),
    "imagefolder": _IMAGES_COLUMN,
}
_READ_PATHS = "The paths of frames are relative to the parent of this folder; their images are not in it."
_SIZES = (1_000, 10_000, 100_000, 1_000_000)
_SIZE_NAMES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "n>1M")
_COLUMNS = """\
| column | content |
| --- | --- |
| `id` | id of the sample in the manifest |
| `video` | path of its video, relative to the videos folder |
| `split` | name of its split |
| `support_seconds` | requested times in seconds |
| `frames` | one struct per frame, in time order |
| `bad_frames` | one struct per damaged or missing frame of the sample |
| `outside_seconds` | requested times outside the video; they have no frame |
| `repeated_seconds` | requested times whose frame an earlier time already selected |
| `dropped_seconds` | requested times beyond the maximum number of frames |
| `left_out_frames` | number of frames that the rule selects beyond the maximum |
| `offset_seconds` | time from the start of the file to its first frame |
| `shot_seconds` | start of each shot, if shots were detected |

All other columns are copied from the manifest unchanged.

| field of `frames` | content |
| --- | --- |
| `path` | path of the image file |
| `source` | reason for selecting it: `support`, `uniform`, or the name of the rule |
| `requested_seconds`, `actual_seconds` | the requested time, and the time when the frame is first displayed |
| `pts`, `time_base` | presentation timestamp in ticks, and the length of a tick in seconds as a fraction |
| `frame_index` | index among the displayed frames, from 0 |
| `keyframe_distance_frames` | packets between the frame and the keyframe where decoding starts; 0 for a keyframe |
| `width_px`, `height_px` | size of the image |
| `size_bytes`, `sha256` | size and SHA-256 of the image file |
| `sar`, `interlaced` | pixel aspect ratio of the frame, and true if it consists of two fields |
| `color` | matrix, primaries, transfer and range of the frame |
| `phash` | perceptual hash, 64 bits in hexadecimal; null if the image has too little texture |

| field of `bad_frames` | content |
| --- | --- |
| `source`, `requested_seconds`, `frame_index` | same as in `frames`; `frame_index` is null beyond the end of the file |
| `reason` | why the frame cannot be read |
"""


@dataclass(frozen=True)
class CardFacts:
    """Facts about the dataset in addition to its rows.

    license     identifier such as cc-by-4.0; None if it is unknown
    has_images  the images are in the dataset's folder
    provenance  facts about its origin by name, as JSON values
    """

    license: str | None = None
    has_images: bool = True
    provenance: Mapping[str, Any] = field(default_factory=dict)


def render_card(
    form: str, by_split: Mapping[str, Sequence[Row]], types: Mapping[str, Type] | None, facts: CardFacts
) -> str:
    """Return the text of the dataset's README.md. The same arguments give the same text.

    ``types`` are the column types, for formats that do not store them; otherwise ``datasets`` would infer them from
    the first rows of one split. None for the other formats, and if a column has mixed types.
    """
    pattern = _FILES[form] if facts.has_images or form != "parquet" else "{split}.parquet"
    files = [{"split": split, "path": pattern.format(split=split)} for split in by_split]
    samples = sum(map(len, by_split.values()))
    head = {
        "license": facts.license or "unknown",
        "size_categories": [_SIZE_NAMES[bisect_right(_SIZES, samples)]],
        "configs": [{"config_name": "default", "data_files": files}],
        **_describe_features(form, by_split, types),
    }
    return f"""---
{_format_yaml(head)}
---

# Frames from videos

`datasets.load_dataset("path/of/this/folder")` reads every split. {_READ[form] if facts.has_images else _READ_PATHS}

| split | samples | videos | frames | bytes of images |
| --- | --- | --- | --- | --- |
{_count_rows(by_split)}

{_count_labels(by_split)}## Provenance

{_describe_provenance(facts)}

## Columns

{_COLUMNS}"""


def _count_rows(by_split: Mapping[str, Sequence[Row]]) -> str:
    """Return the rows of the table of splits."""
    lines = []
    for split, rows in by_split.items():
        videos = len({row["video"] for row in rows})
        lines.append(f"| {split} | {len(rows)} | {videos} | {_count_frames(rows)} | {_count_bytes(rows)} |")
    return "\n".join(lines)


def _count_labels(by_split: Mapping[str, Sequence[Row]]) -> str:
    """Return a table of the samples per label; empty if the samples have no text as label."""
    counts = Counter(row.get("label") for rows in by_split.values() for row in rows)
    if not counts or not all(isinstance(label, str) for label in counts):
        return ""
    lines = [f"| {markdown(str(label))} | {number} |" for label, number in sorted(counts.items())]
    rest = len(lines) - _MAX_LABELS
    more = [f"| {rest} more labels | |"] if rest > 0 else []
    return "\n".join(["| label | samples |", "| --- | --- |", *lines[:_MAX_LABELS], *more, "", ""])


def _describe_provenance(facts: CardFacts) -> str:
    """Return a list of the facts about the origin, and the options as JSON."""
    known = dict(facts.provenance)
    options = known.pop("options", None)
    lines = [f"- {name.replace('_', ' ')}: {markdown(str(value))}" for name, value in known.items()]
    lines.append(f"- license: {facts.license or 'unknown; set it with --license'}")
    if options is not None:
        text = json.dumps(options, ensure_ascii=False, sort_keys=True)
        lines.append(f"- options: `{text}`")
    return "\n".join(lines)


def _count_bytes(rows: Sequence[Row]) -> int:
    return sum(frame["size_bytes"] for row in rows for frame in row["frames"])


def _format_yaml(head: Mapping[str, Any]) -> str:
    """Return the header as YAML. JSON is valid YAML and quotes any column name."""
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items())


def _describe_features(
    form: str, by_split: Mapping[str, Sequence[Row]], types: Mapping[str, Type] | None
) -> dict[str, Any]:
    if types is None:
        return {}
    if form == "jsonl":
        return {"dataset_info": {"features": list_features(types)}}
    members = list_features({"__key__": "string", "__url__": "string", "json": dict(types)})
    images = [{"name": name, "dtype": "image"} for name in _list_image_names(by_split)]
    return {"dataset_info": {"features": [*members, *images]}}


def _list_image_names(by_split: Mapping[str, Sequence[Row]]) -> list[str]:
    """Return the image names of all samples; a sample with fewer images has None for the rest."""
    rows = (row for split_rows in by_split.values() for row in split_rows)
    return sorted({PurePosixPath(frame["path"]).name for row in rows for frame in row["frames"]})


def _count_frames(rows: Sequence[Row]) -> int:
    return sum(len(row["frames"]) for row in rows)
