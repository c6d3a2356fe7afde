"""The dataset: rows of samples with their frames, in the format that the training code reads.

Every format has the same ids, rows and columns. A part (a file, or the pictures of some samples) is one item of the
engine; its payload holds the rows, and the rows hold the digests of the pictures, so a part is made again exactly when
something in it changes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from tasks.engine.contract.errors import BadInput, Problem
from tasks.engine.contract.items import Item
from tasks.engine.contract.manifest import cap_problems
from tasks.engine.contract.stage import Stage, StageResult, Workspace, published_file
from tasks.frames.card import card
from tasks.frames.columns import (
    OWN,
    MixedTypesError,
    Type,
    arrow_schema,
    column_types,
    has_empty_struct,
    merge,
    names_within,
    read_alike,
    type_of,
)
from tasks.frames.manifest import Sample

Format: TypeAlias = Literal["jsonl", "parquet", "webdataset", "imagefolder"]
Row: TypeAlias = dict[str, Any]
FOLDER = "dataset"
_IMAGES = "images"
_LIKE_A_SPLIT = re.compile(
    r"(?:^|[-._ 0-9])(?:train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?|eval(?:uation)?)(?:$|[-._ 0-9])"
)
_FILE_NAMES = "file_names"  # datasets reads this column of a metadata file as the list of images, ``images``


class DatasetParams(BaseModel):
    """What decides the dataset's bytes, beside its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format = "jsonl"
    samples_per_tar: int = Field(default=1000, ge=1, description="Samples in one tar of a WebDataset")


class DatasetStage(Stage):
    """Writes one part of the dataset. Reads the frames that the frames stage has published."""

    name = "dataset"
    version = 2
    memory_bytes = 512 * 2**20
    timeout_seconds = 3600.0

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write the item's part. Raises BadInput where a frame is gone, or no longer what its row says."""
        part = item.payload
        _WRITERS[part["kind"]](part, work)
        rows = part["rows"]
        frames = sum(len(row["frames"]) for row in rows)
        return StageResult(values={"split": part["split"], "samples": len(rows), "frames": frames})


def frames_by_sample(details: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """What the frames stage said of each sample, by sample id, from the details of its finished items."""
    return {sample["id"]: sample for detail in details for sample in detail["samples"]}


def dataset_problems(samples: Iterable[Sample], params: DatasetParams) -> list[Problem]:
    """What keeps the samples' own columns out of the chosen format: mixed types, and names with another meaning.

    JSON Lines and WebDataset hold any JSON; Parquet and imagefolder have one type a column.
    """
    if params.format not in {"parquet", "imagefolder"}:
        return []
    types: dict[str, Type] = {}
    problems: list[Problem] = []
    for sample in samples:
        for name, value in sample.fields.items():
            try:
                types[name] = merge(types.get(name, "null"), type_of(value))
            except MixedTypesError as error:
                problems.append(_mixed(sample, name, error, params))
    problems += [found for name, kind in types.items() for found in _unfit(name, kind, params)]
    return cap_problems(problems)


def dataset_items(
    samples: Sequence[Sample],
    frames: Mapping[str, Mapping[str, Any]],
    params: DatasetParams,
    split_of: Mapping[str, str],
) -> list[Item]:
    """The parts of the dataset, and its card.

    samples   all samples of the manifest; its order is the order of the rows
    frames    what :func:`frames_by_sample` gives; a sample that is not in it (its video failed) is left out, and
              from an imagefolder a sample without any frame too: ``datasets`` cannot read a row without pictures
    split_of  the split of each sample by id, as :func:`tasks.frames.splits.assign` gives it; an empty split has no part
    """
    by_split = _rows_by_split(samples, frames, split_of)
    if params.format == "imagefolder":
        by_split = _with_pictures(by_split)
    if not by_split:
        return []
    parts = _PARTS[params.format](by_split, params, {sample.title: sample.id for sample in samples})
    return [*parts, _card_part(by_split, params)]


def webdataset_key(sample_id: str) -> str:
    """The ``__key__`` of a sample: its id as in file names, with dots as ``%2E``: WebDataset ends keys at the first."""
    return quote(sample_id, safe="").replace(".", "%2E")


def sample_id_of(key: str) -> str:
    """The id of a WebDataset ``__key__`` as in file names; the manifest's own id stands in the sample's ``json``."""
    return unquote(key)


# Rows


def _rows_by_split(
    samples: Sequence[Sample], frames: Mapping[str, Mapping[str, Any]], split_of: Mapping[str, str]
) -> dict[str, list[Row]]:
    """The rows of each split that has any, splits in order of name; every row has every column."""
    columns = [name for name in dict.fromkeys(name for sample in samples for name in sample.fields) if name not in OWN]
    found: dict[str, list[Row]] = {}
    for sample in samples:
        if sample.id in frames:
            split = split_of[sample.id]
            found.setdefault(split, []).append(_row(sample, frames[sample.id], split, columns))
    return dict(sorted(found.items()))


def _row(sample: Sample, found: Mapping[str, Any], split: str, columns: Iterable[str]) -> Row:
    return {
        "id": sample.title,
        "video": sample.video,
        "split": split,
        "support_seconds": list(sample.support_seconds),
        "frames": list(found["frames"]),
        "bad_frames": list(found["bad_frames"]),
        "outside_seconds": list(found["outside_seconds"]),
        "repeated_seconds": list(found["repeated_seconds"]),
        "dropped_seconds": list(found["dropped_seconds"]),
        **{name: sample.fields.get(name) for name in columns},
    }


def _with_pictures(by_split: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    kept = {split: [row for row in rows if row["frames"]] for split, rows in by_split.items()}
    return {split: rows for split, rows in kept.items() if rows}


def _json_line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _mixed(sample: Sample, name: str, error: MixedTypesError, params: DatasetParams) -> Problem:
    where = f"{sample.where or sample.title}, {name}"
    return Problem(where, str(error), f"one type a column in {params.format}", "make it one type, or use jsonl")


def _unfit(name: str, kind: Type, params: DatasetParams) -> Iterator[Problem]:
    """Column names that ``datasets`` would take for pictures, and objects that Parquet cannot hold."""
    if has_empty_struct(kind):
        yield Problem(f"column {name!r}", "objects without any field", "objects with fields", "remove it or use jsonl")
    if params.format == "imagefolder":
        taken = [inner for inner in (name, *names_within(kind)) if inner.endswith(("file_name", _FILE_NAMES))]
        if name == _IMAGES or taken:
            allowed = f"in imagefolder, names other than {_IMAGES!r} and those ending in 'file_name' or 'file_names'"
            yield Problem(f"column {name!r}", f"{(taken or [name])[0]!r} means pictures", allowed, "rename it")


# Parts


def _part(kind: str, name: str, split: str, rows: Sequence[Row], **more: Any) -> Item:
    """An item that writes ``dataset/<name>``. Its cost counts the frames that it copies, or the rows."""
    payload = {"kind": kind, "path": f"{FOLDER}/{name}", "split": split, "rows": list(rows), **more}
    copied = sum(len(row["frames"]) for row in rows) if kind in {"tar", "images"} else 0
    return Item(id=name.replace("/", "-"), payload=payload, cost=copied + 0.01 * len(rows), name=name)


def _jsonl_parts(by_split: Mapping[str, list[Row]], *_: object) -> list[Item]:
    return [_part("jsonl", f"{split}.jsonl", split, rows) for split, rows in by_split.items()]


def _parquet_parts(by_split: Mapping[str, list[Row]], *_: object) -> list[Item]:
    types = column_types((row for rows in by_split.values() for row in rows), OWN)
    return [_part("parquet", f"{split}.parquet", split, rows, types=types) for split, rows in by_split.items()]


def _tar_parts(by_split: Mapping[str, list[Row]], params: DatasetParams, ids: Mapping[str, str]) -> list[Item]:
    return [
        _part("tar", f"{split}-{number:06d}.tar", split, rows, keys=[webdataset_key(ids[row["id"]]) for row in rows])
        for split, of_split in by_split.items()
        for number, rows in enumerate(_chunks(of_split, params.samples_per_tar))
    ]


def _imagefolder_parts(by_split: Mapping[str, list[Row]], params: DatasetParams, *_: object) -> list[Item]:
    """For each split its metadata, and its pictures in chunks.

    JSON Lines cannot say the type of a column that is empty in one split, and ``datasets`` refuses splits that look
    different; nor can it say that a date is text. Where that matters the metadata is Parquet, which it reads as well.
    """
    named = {split: [_with_file_names(row) for row in rows] for split, rows in by_split.items()}
    if read_alike(b"".join(map(_json_line, rows)) for rows in named.values()):
        metadata = [_part("jsonl", f"{split}/metadata.jsonl", split, rows) for split, rows in named.items()]
    else:
        known = {_FILE_NAMES: ["string"], **OWN}
        types = column_types((row for rows in named.values() for row in rows), known)
        metadata = [_part("parquet", f"{s}/metadata.parquet", s, rows, types=types) for s, rows in named.items()]
    return [*metadata, *_image_parts(by_split, params)]


def _image_parts(by_split: Mapping[str, list[Row]], params: DatasetParams) -> Iterator[Item]:
    for split, of_split in by_split.items():
        for number, rows in enumerate(_chunks(of_split, params.samples_per_tar)):
            item = _part("images", split, split, [_pictures_only(row) for row in rows])
            yield Item(id=f"{split}-{_IMAGES}-{number:06d}", payload=item.payload, cost=item.cost, name=item.name)


def _pictures_only(row: Row) -> Row:
    """What placing a row's pictures depends on: no more, so that a changed answer copies none of them."""
    return {"id": row["id"], "frames": [{"path": f["path"], "sha256": f["sha256"]} for f in row["frames"]]}


def _with_file_names(row: Row) -> Row:
    return {_FILE_NAMES: list(map(_image_name, row["frames"])), **row}


def _image_name(frame: Mapping[str, Any]) -> str:
    """Where a frame lies in its split's folder: in a folder called like that of its sample, or a digest of it.

    ``datasets`` takes any folder called ``test_1`` or ``my-train`` for that split, wherever it lies.
    """
    path = PurePosixPath(frame["path"])
    folder = path.parent.name
    if _LIKE_A_SPLIT.search(folder):
        folder = hashlib.sha256(folder.encode()).hexdigest()[:16]
    return f"{_IMAGES}/{folder}/{path.name}"


def _card_part(by_split: Mapping[str, list[Row]], params: DatasetParams) -> Item:
    says_types = params.format in {"jsonl", "webdataset"}  # the others hold them
    text = card(params.format, by_split, _types_or_none(by_split) if says_types else None)
    payload = {"kind": "card", "path": f"{FOLDER}/README.md", "split": "", "rows": [], "text": text}
    return Item(id="card", payload=payload, cost=0.01, name="README.md")


def _types_or_none(by_split: Mapping[str, list[Row]]) -> dict[str, Type] | None:
    try:
        return column_types((row for rows in by_split.values() for row in rows), OWN)
    except MixedTypesError:
        return None


def _chunks(rows: Sequence[Row], size: int) -> Iterator[Sequence[Row]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


# Writers: the same rows give the same bytes, everywhere and at any time


def _write_jsonl(part: Mapping[str, Any], work: Workspace) -> None:
    with work.output(part["path"]).open("wb") as file:
        file.writelines(map(_json_line, part["rows"]))


def _write_parquet(part: Mapping[str, Any], work: Workspace) -> None:
    table = pa.Table.from_pylist(part["rows"], schema=arrow_schema(part["types"]))
    pq.write_table(table, work.output(part["path"]), compression="zstd", version="2.6")


def _write_tar(part: Mapping[str, Any], work: Workspace) -> None:
    with tarfile.open(work.output(part["path"]), "w", format=tarfile.PAX_FORMAT) as tar:
        for key, row in zip(part["keys"], part["rows"], strict=True):
            _add(tar, f"{key}.json", _json_line(row))
            for frame in row["frames"]:
                _add(tar, f"{key}.{PurePosixPath(frame['path']).name}", _picture(work, frame))


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member whose header says nothing of when, where and by whom: tarfile's own are 1970, root, 0644."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _write_images(part: Mapping[str, Any], work: Workspace) -> None:
    for row in part["rows"]:
        for frame in row["frames"]:
            _picture(work, frame)
            _link_or_copy(
                published_file(work.output_dir, frame["path"]), work.output(f"{part['path']}/{_image_name(frame)}")
            )


def _write_card(part: Mapping[str, Any], work: Workspace) -> None:
    work.output(part["path"]).write_text(part["text"], encoding="utf-8", newline="\n")


def _picture(work: Workspace, frame: Mapping[str, Any]) -> bytes:
    """A published frame's bytes, as long as they are those that its row describes."""
    advice = "run again with --verify digest, which makes it anew"
    try:
        content: bytes = published_file(work.output_dir, frame["path"]).read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"{frame['path']} is gone; {advice}") from error
    except PermissionError as error:
        raise BadInput(f"{frame['path']} {error.strerror}; {advice}") from error
    if hashlib.sha256(content).hexdigest() != frame["sha256"]:
        raise BadInput(f"{frame['path']} was altered since it was made; {advice}")
    return content


def _link_or_copy(source: Path, target: Path) -> None:
    """A hard link costs no disk; some file systems have none."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


_PARTS: dict[Format, Callable[[Mapping[str, list[Row]], DatasetParams, Mapping[str, str]], list[Item]]] = {
    "jsonl": _jsonl_parts,
    "parquet": _parquet_parts,
    "webdataset": _tar_parts,
    "imagefolder": _imagefolder_parts,
}
_WRITERS: dict[str, Callable[[Mapping[str, Any], Workspace], None]] = {
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
    "tar": _write_tar,
    "images": _write_images,
    "card": _write_card,
}
