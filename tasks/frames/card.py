"""The dataset card: README.md with the contents and the metadata that ``datasets.load_dataset(folder)`` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from tasks.frames.columns import Type, list_features

_FILES = {
    "jsonl": "{split}.jsonl",
    "parquet": "{split}.parquet",
    "webdataset": "{split}-*.tar",
    "imagefolder": "{split}/**",
}
_READ = {
    "jsonl": "Frame paths are relative to the parent folder.",
    "parquet": "Frame paths are relative to the parent folder.",
    "webdataset": (
        "Each sample is `KEY.json` (its row) and `KEY.0000.jpg`, `KEY.0001.jpg`, ... KEY is the sample's id as in file "
        "names, with dots written as `%2E`."
    ),
    "imagefolder": "The column `images` contains the frames of a sample in time order.",
}
_COLUMNS = """\
| column | content |
| --- | --- |
| `id` | id of the sample in the manifest |
| `video` | path of its video, relative to the videos folder |
| `split` | name of its split |
| `support_seconds` | requested times, in seconds from the first displayed frame |
| `frames` | one struct per frame, in time order |
| `bad_frames` | one struct per damaged or missing frame of the sample |
| `outside_seconds` | requested times outside the video; they have no frame |
| `repeated_seconds` | requested times whose frame an earlier time already selected |
| `dropped_seconds` | requested times beyond the maximum number of frames |

All other columns are copied from the manifest unchanged.

| field of `frames` | content |
| --- | --- |
| `path` | path of the image file |
| `source` | reason for selecting it: `support` or `uniform` |
| `requested_seconds`, `actual_seconds` | the requested time, and the time when the frame is first displayed |
| `pts`, `time_base` | presentation timestamp in ticks, and the length of a tick in seconds as a fraction |
| `frame_index` | index among the displayed frames, from 0 |
| `keyframe_distance_frames` | packets between the frame and the keyframe where decoding starts; 0 for a keyframe |
| `width_px`, `height_px` | size of the image |
| `sha256` | SHA-256 of the image file |

| field of `bad_frames` | content |
| --- | --- |
| `source`, `requested_seconds`, `frame_index` | same as in `frames`; `frame_index` is null beyond the end of the file |
| `reason` | why the frame cannot be read |
"""


def render_card(
    form: str, by_split: Mapping[str, Sequence[Mapping[str, Any]]], types: Mapping[str, Type] | None
) -> str:
    """Return the text of the dataset's README.md. The same arguments give the same text.

    ``types`` are the column types, for formats that do not store them; otherwise ``datasets`` would infer them from
    the first rows of one split. None for the other formats, and if a column has mixed types.
    """
    files = [{"split": split, "path": _FILES[form].format(split=split)} for split in by_split]
    head = {"configs": [{"config_name": "default", "data_files": files}], **_describe_features(form, by_split, types)}
    totals = "\n".join(f"| {split} | {len(rows)} | {_count_frames(rows)} |" for split, rows in by_split.items())
    return f"""---
{_format_yaml(head)}
---

# Frames from videos

`datasets.load_dataset("path/of/this/folder")` reads every split. {_READ[form]}

| split | samples | frames |
| --- | --- | --- |
{totals}

{_COLUMNS}"""


def _format_yaml(head: Mapping[str, Any]) -> str:
    """Return the header as YAML. JSON is valid YAML and quotes any column name."""
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items())


def _describe_features(
    form: str, by_split: Mapping[str, Sequence[Mapping[str, Any]]], types: Mapping[str, Type] | None
) -> dict[str, Any]:
    if types is None:
        return {}
    if form == "jsonl":
        return {"dataset_info": {"features": list_features(types)}}
    members = list_features({"__key__": "string", "__url__": "string", "json": dict(types)})
    images = [{"name": name, "dtype": "image"} for name in _list_image_names(by_split)]
    return {"dataset_info": {"features": [*members, *images]}}


def _list_image_names(by_split: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the image names of all samples; a sample with fewer images has None for the rest."""
    rows = (row for split_rows in by_split.values() for row in split_rows)
    return sorted({PurePosixPath(frame["path"]).name for row in rows for frame in row["frames"]})


def _count_frames(rows: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(row["frames"]) for row in rows)
