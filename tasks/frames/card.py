"""The dataset's card: what is in it, and what ``datasets.load_dataset(folder)`` needs to find its splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from tasks.frames.columns import Type, features

_FILES = {
    "jsonl": "{split}.jsonl",
    "parquet": "{split}.parquet",
    "webdataset": "{split}-*.tar",
    "imagefolder": "{split}/**",
}
_READ = {
    "jsonl": "Paths of frames are relative to the folder above this one.",
    "parquet": "Paths of frames are relative to the folder above this one.",
    "webdataset": (
        "Each sample is `KEY.json` (its row) and `KEY.0000.jpg`, `KEY.0001.jpg`, ... KEY is the sample's id as in file "
        "names, with dots as `%2E`."
    ),
    "imagefolder": "The column `images` holds a sample's frames, in time order.",
}
_COLUMNS = """\
| column | what it holds |
| --- | --- |
| `id` | the sample, as the manifest names it |
| `video` | its video, relative to the folder of videos |
| `split` | its split |
| `support_seconds` | the times that the sample asked for, in seconds from the video's first shown frame |
| `frames` | a struct for each frame, in time order |
| `bad_frames` | a struct for each frame of the sample that is damaged or missing |
| `outside_seconds` | those that lie outside the video: they have no frame |
| `repeated_seconds` | those that name a frame which an earlier one has taken |
| `dropped_seconds` | those that the limit on frames left no room for |

All other columns come from the manifest as they were.

| field of `frames` | what it holds |
| --- | --- |
| `path` | the picture |
| `source` | why it was taken: `support` or `uniform` |
| `requested_seconds`, `actual_seconds` | the time that was asked for, and the time from which the frame is shown |
| `pts`, `time_base` | the frame's presentation time in the stream's ticks, and a tick in seconds, as a fraction |
| `frame_index` | its place among the shown frames, from 0 |
| `keyframe_distance_frames` | packets between it and the keyframe that it is decoded from; 0 for a keyframe |
| `width_px`, `height_px` | size of the picture |
| `sha256` | digest of the picture's file |

| field of `bad_frames` | what it holds |
| --- | --- |
| `source`, `requested_seconds`, `frame_index` | as in `frames`; `frame_index` is null if the file ends before |
| `reason` | why the frame cannot be read |
"""


def card(form: str, by_split: Mapping[str, Sequence[Mapping[str, Any]]], types: Mapping[str, Type] | None) -> str:
    """The text of the dataset's README.md. The same rows give the same text.

    ``types`` are those of the columns, for formats that do not hold them: ``datasets`` then need not guess them from
    the first rows of one split. None for the others, and where a column has no one type.
    """
    files = [{"split": split, "path": _FILES[form].format(split=split)} for split in by_split]
    head = {"configs": [{"config_name": "default", "data_files": files}], **_info(form, by_split, types)}
    totals = "\n".join(f"| {split} | {len(rows)} | {_frames(rows)} |" for split, rows in by_split.items())
    return f"""---
{_yaml(head)}
---

# Frames from videos

`datasets.load_dataset("path/of/this/folder")` reads every split. {_READ[form]}

| split | samples | frames |
| --- | --- | --- |
{totals}

{_COLUMNS}"""


def _yaml(head: Mapping[str, Any]) -> str:
    """JSON is YAML, and quotes whatever a column may be called."""
    return "\n".join(f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in head.items())


def _info(
    form: str, by_split: Mapping[str, Sequence[Mapping[str, Any]]], types: Mapping[str, Type] | None
) -> dict[str, Any]:
    if types is None:
        return {}
    if form == "jsonl":
        return {"dataset_info": {"features": features(types)}}
    members = features({"__key__": "string", "__url__": "string", "json": dict(types)})
    pictures = [{"name": name, "dtype": "image"} for name in _picture_names(by_split)]
    return {"dataset_info": {"features": [*members, *pictures]}}


def _picture_names(by_split: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What the pictures of any sample are called; a sample with fewer has None for the rest."""
    rows = (row for of_split in by_split.values() for row in of_split)
    return sorted({PurePosixPath(frame["path"]).name for row in rows for frame in row["frames"]})


def _frames(rows: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(row["frames"]) for row in rows)
