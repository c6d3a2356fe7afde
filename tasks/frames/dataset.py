"""The dataset: rows of samples with their frames, in the format that the training code reads.

All formats have the same ids, rows and columns. A part (a file, or the images of some samples) is one item of the
engine. Its payload contains the rows, and the rows contain the SHA-256 of each image: a part is written again exactly
when its content changes.
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
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from tasks.engine.contract.errors import BadInput, Problem
from tasks.engine.contract.items import Item
from tasks.engine.contract.manifest import cap_problems
from tasks.engine.contract.stage import Stage, StageResult, Workspace, get_published_file
from tasks.frames import duplicates_report
from tasks.frames.card import CardFacts, render_card
from tasks.frames.columns import (
    OWN,
    MixedTypesError,
    Type,
    build_arrow_schema,
    has_consistent_types,
    has_empty_struct,
    infer_column_types,
    infer_type,
    iterate_field_names,
    merge_types,
)
from tasks.frames.manifest import MEDIA_COLUMNS, Sample
from tasks.frames.params import Format
from tasks.frames.shards import Shard, ShardLimits, assign_shards
from tasks.frames.tables import FILE_COLUMNS, IMAGES, check_lance, list_media, write_lance, write_parquet

Row: TypeAlias = dict[str, Any]
FOLDER = "dataset"
_SPLIT_NAME = re.compile(
    r"(?:^|[-._ 0-9])(?:train(?:ing)?|val(?:id(?:ation)?)?|dev|test(?:ing)?|eval(?:uation)?)(?:$|[-._ 0-9])"
)
_FILE_NAMES = "file_names"  # metadata column that datasets reads as the list of images, ``images``


class DatasetParams(BaseModel):
    """Options that change the dataset's bytes, in addition to its rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Format = "jsonl"
    # These affect the plan only: a part is written again exactly when its payload changes.
    shard_samples: int = Field(default=1000, ge=1, exclude=True, description="Maximum samples per shard")
    shard_bytes: int | None = Field(default=2**30, ge=1, exclude=True, description="Maximum bytes per shard")
    embed_images: bool = Field(default=True, exclude=True, description="Put the images into the dataset's folder")
    license: str | None = Field(default=None, exclude=True, description="License of the dataset, for its card")


class DatasetStage(Stage):
    """Write one part of the dataset from the frames that the frames stage published."""

    name = "dataset"
    version = 2
    memory_bytes = 768 * 2**20
    timeout_seconds = 3600.0

    def run(self, item: Item, work: Workspace) -> StageResult:
        """Write the item's part. Raises BadInput if a frame is missing or does not match its row."""
        part = item.payload
        _WRITERS[part["kind"]](part, work)
        rows = part["rows"]
        frames = sum(len(row["frames"]) for row in rows)
        return StageResult(values={"split": part["split"], "samples": len(rows), "frames": frames})


def index_details(details: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the frames stage's detail of each sample by sample id, from the details of its finished items."""
    return {sample["id"]: sample for detail in details for sample in detail["samples"]}


def choose_dataset(values: Mapping[str, Any]) -> DatasetParams:
    """Return the options of the dataset among those of the flow; None stands for the default."""
    chosen = {name: values[name] for name in DatasetParams.model_fields}
    return DatasetParams(**{name: value for name, value in chosen.items() if value is not None})


def check_options(values: Mapping[str, Any]) -> list[Problem]:
    """Return the contradictions between the format and the other options; ``values`` are those of the flow."""
    form = values["format"]
    problems = check_lance() if form == "lance" else []
    if values["shard_bytes"] == 0:
        problems.append(Problem("--shard-bytes", "0", "a size such as 500MB", "correct it"))
    if not values["embed_images"] and form not in {"jsonl", "parquet"}:
        allowed = "jsonl and parquet, which can refer to images by their paths"
        problems.append(Problem("--no-embed-images", f"given with {form}", allowed, "remove it, or change --format"))
    if form == "imagefolder" and not values["frames"]:
        problems.append(Problem("--no-frames", "given with imagefolder", "a format for clips and audio", "use jsonl"))
    for name in ("shard_samples", "shard_bytes"):
        if values[name] is not None and not (form == "webdataset" or (form == "parquet" and values["embed_images"])):
            allowed = "webdataset, and parquet with embedded images"
            option = "--" + name.replace("_", "-")
            problems.append(Problem(option, f"given with {form}", allowed, "remove it, or change --format"))
    return problems


def check_columns(samples: Iterable[Sample], params: DatasetParams) -> list[Problem]:
    """Return the reasons why the samples' columns do not fit the format: mixed types, and names with a special meaning.

    JSON Lines and WebDataset store any JSON; Parquet, Lance and imagefolder allow one type per column.
    """
    if params.format not in {"parquet", "lance", "imagefolder"}:
        return []
    types: dict[str, Type] = {}
    problems: list[Problem] = []
    for sample in samples:
        for name, value in sample.fields.items():
            try:
                types[name] = merge_types(types.get(name, "null"), infer_type(value))
            except MixedTypesError as error:
                problems.append(_describe_mixed_types(sample, name, error, params))
    problems += [problem for name, kind in types.items() for problem in _check_column(name, kind, params)]
    return cap_problems(problems)


def plan_dataset(
    samples: Sequence[Sample],
    frames: Mapping[str, Mapping[str, Any]],
    params: DatasetParams,
    split_of: Mapping[str, str],
    provenance: Mapping[str, Any] | None = None,
) -> list[Item]:
    """Return the items of the dataset: its parts and its card.

    samples   all samples of the manifest, in the order of the rows
    frames    result of :func:`index_details`. A sample that is not in it (its video failed) is left out. An imagefolder
              leaves out samples without frames too: ``datasets`` cannot read a row without images
    split_of  split of each sample by id, from :func:`tasks.frames.splits.assign`; an empty split has no part
    provenance  facts about the origin of the dataset, for its card
    """
    by_split = _collect_rows(samples, frames, split_of)
    if params.format == "imagefolder":
        by_split = _drop_empty_rows(by_split)
    if not by_split:
        return []
    parts = _PLANNERS[params.format](by_split, params, {sample.title: sample.id for sample in samples})
    omitted = sum(sample.id not in frames for sample in samples)
    return [*parts, _create_card_part(by_split, params, {**(provenance or {}), "omitted_samples": omitted})]


def encode_webdataset_key(sample_id: str) -> str:
    """Return the ``__key__`` of a sample: its id as in file names, dots as ``%2E`` (WebDataset cuts keys at dots)."""
    return quote(sample_id, safe="").replace(".", "%2E")


def decode_webdataset_key(key: str) -> str:
    """Return the id (as in file names) of a WebDataset ``__key__``; the manifest's id is in the sample's ``json``."""
    return unquote(key)


# Rows


def _collect_rows(
    samples: Sequence[Sample], frames: Mapping[str, Mapping[str, Any]], split_of: Mapping[str, str]
) -> dict[str, list[Row]]:
    """Return the rows of each split that has any, sorted by split name; every row has every column."""
    columns = [name for name in dict.fromkeys(name for sample in samples for name in sample.fields) if name not in OWN]
    by_split: dict[str, list[Row]] = {}
    for sample in samples:
        if sample.id in frames:
            split = split_of[sample.id]
            by_split.setdefault(split, []).append(_build_row(sample, frames[sample.id], split, columns))
    return dict(sorted(by_split.items()))


def _build_row(sample: Sample, detail: Mapping[str, Any], split: str, columns: Iterable[str]) -> Row:
    return {
        "id": sample.title,
        "video": sample.video,
        "split": split,
        "support_seconds": list(sample.support_seconds),
        "frames": list(detail["frames"]),
        "bad_frames": list(detail["bad_frames"]),
        "outside_seconds": list(detail["outside_seconds"]),
        "repeated_seconds": list(detail["repeated_seconds"]),
        "dropped_seconds": list(detail["dropped_seconds"]),
        "left_out_frames": detail["left_out_frames"],
        "offset_seconds": detail["offset_seconds"],
        "shot_seconds": list(detail["shot_seconds"]),
        **{name: detail[name] for name in MEDIA_COLUMNS if name in detail},
        **{name: sample.fields.get(name) for name in columns},
    }


def _drop_empty_rows(by_split: Mapping[str, list[Row]]) -> dict[str, list[Row]]:
    kept = {split: [row for row in rows if row["frames"]] for split, rows in by_split.items()}
    return {split: rows for split, rows in kept.items() if rows}


def _encode_json_line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _describe_mixed_types(sample: Sample, name: str, error: MixedTypesError, params: DatasetParams) -> Problem:
    where = f"{sample.where or sample.title}, {name}"
    return Problem(where, str(error), f"one type per column in {params.format}", "use one type, or use jsonl")


def _check_column(name: str, kind: Type, params: DatasetParams) -> Iterator[Problem]:
    """Yield problems for column names that ``datasets`` reads as images and for objects that Parquet cannot store."""
    if has_empty_struct(kind):
        yield Problem(f"column {name!r}", "objects without fields", "objects with fields", "remove it or use jsonl")
    if name in FILE_COLUMNS and params.format != "imagefolder" and params.embed_images:
        yield Problem(f"column {name!r}", "has the name of a column of files", "another name", "rename it")
    if params.format == "imagefolder":
        reserved = [inner for inner in (name, *iterate_field_names(kind)) if inner.endswith(("file_name", _FILE_NAMES))]
        if name == IMAGES or reserved:
            allowed = f"in imagefolder, names other than {IMAGES!r} that do not end in 'file_name' or 'file_names'"
            yield Problem(
                f"column {name!r}", f"{(reserved or [name])[0]!r} is reserved for images", allowed, "rename it"
            )


# Parts


# Kinds of parts that hold the bytes of images.
_COPYING = frozenset({"tar", "images", "frames", "parquet-images", "lance"})


def _create_part(kind: str, name: str, split: str, rows: Sequence[Row], **more: Any) -> Item:
    """Return an item that writes ``dataset/<name>``. Its cost is the number of frames to copy plus a little per row."""
    payload = {"kind": kind, "path": f"{FOLDER}/{name}", "split": split, "rows": list(rows), **more}
    copied = sum(len(row["frames"]) for row in rows) if kind in _COPYING else 0
    return Item(id=name.replace("/", "-"), payload=payload, cost=copied + 0.01 * len(rows), name=name)


def _plan_jsonl_parts(by_split: Mapping[str, list[Row]], params: DatasetParams, *_: object) -> list[Item]:
    """Return the rows of each split. Their paths also lead to the images if these are linked below the dataset."""
    tables = [_create_part("jsonl", f"{split}.jsonl", split, rows) for split, rows in by_split.items()]
    return [*tables, *_plan_image_parts(by_split, params, "frames")] if params.embed_images else tables


def _plan_parquet_parts(by_split: Mapping[str, list[Row]], params: DatasetParams, *_: object) -> list[Item]:
    types = _infer_all_types(by_split)
    if not params.embed_images:
        return [_create_part("parquet", f"{name}.parquet", name, rows, types=types) for name, rows in by_split.items()]
    return [
        _create_part("parquet-images", f"{split}-{shard.name}.parquet", split, _take(rows, shard), types=types)
        for split, rows in by_split.items()
        for shard in _assign_shards(rows, params, _measure_row)
    ]


def _plan_lance_parts(by_split: Mapping[str, list[Row]], *_: object) -> list[Item]:
    types = _infer_all_types(by_split)
    return [_create_part("lance", f"{split}.lance", split, rows, types=types) for split, rows in by_split.items()]


def _plan_tar_parts(by_split: Mapping[str, list[Row]], params: DatasetParams, ids: Mapping[str, str]) -> list[Item]:
    keys = {name: encode_webdataset_key(sample_id) for name, sample_id in ids.items()}
    return [
        _create_part("tar", f"{split}-{shard.name}.tar", split, rows, keys=[keys[row["id"]] for row in rows])
        for split, split_rows in by_split.items()
        for shard in _assign_shards(split_rows, params, lambda row: _measure_members(row, keys[row["id"]]), _TAR_BYTES)
        for rows in [_take(split_rows, shard)]
    ]


def _assign_shards(
    rows: Sequence[Row], params: DatasetParams, measure: Callable[[Row], int], overhead_bytes: int = 0
) -> list[Shard]:
    size = None if params.shard_bytes is None else max(1, params.shard_bytes - overhead_bytes)
    limits = ShardLimits(params.shard_samples, size)
    return assign_shards([row["id"] for row in rows], [measure(row) for row in rows], limits)


def _take(rows: Sequence[Row], shard: Shard) -> list[Row]:
    return [rows[position] for position in shard.positions]


def _measure_row(row: Row) -> int:
    """Return about the bytes of a row in a table: its images and its other columns."""
    files: list[int] = [file["size_bytes"] for file in [*row["frames"], *list_media(row)]]
    return sum(files) + len(_encode_json_line(row))


def _measure_members(row: Row, key: str) -> int:
    """Return the bytes of a row's members in a tar."""
    sizes = {f"{key}.json": len(_encode_json_line(row))}
    sizes |= {_name_member(key, frame): frame["size_bytes"] for frame in row["frames"]}
    sizes |= {_name_media_member(key, file): file["size_bytes"] for file in list_media(row)}
    return sum(_measure_member(name, size) for name, size in sizes.items())


def _infer_all_types(by_split: Mapping[str, list[Row]]) -> dict[str, Type]:
    return infer_column_types((row for rows in by_split.values() for row in rows), OWN)


def _plan_imagefolder_parts(by_split: Mapping[str, list[Row]], params: DatasetParams, *_: object) -> list[Item]:
    """Return the metadata of each split and its images in chunks.

    JSON Lines cannot declare the type of a column that is empty in one split, and ``datasets`` refuses splits whose
        types differ; it also converts text that looks like a date. In these cases the metadata is Parquet.
    """
    named = {split: [_add_file_names(row) for row in rows] for split, rows in by_split.items()}
    if has_consistent_types(b"".join(map(_encode_json_line, rows)) for rows in named.values()):
        metadata = [_create_part("jsonl", f"{split}/metadata.jsonl", split, rows) for split, rows in named.items()]
    else:
        declared = {_FILE_NAMES: ["string"], **OWN}
        types = infer_column_types((row for rows in named.values() for row in rows), declared)
        metadata = [_create_part("parquet", f"{s}/metadata.parquet", s, rows, types=types) for s, rows in named.items()]
    return [*metadata, *_plan_image_parts(by_split, params)]


def _plan_image_parts(
    by_split: Mapping[str, list[Row]], params: DatasetParams, folder: str | None = None
) -> Iterator[Item]:
    """Yield items that link images: below the folder of their split, or at their own paths below the dataset."""
    kind = "images" if folder is None else "frames"
    for split, split_rows in by_split.items():
        for shard in _assign_shards(split_rows, params, _measure_row):
            rows = [_select_images(row) for row in _take(split_rows, shard)]
            item = _create_part(kind, folder or split, split, rows)
            yield Item(id=f"{split}-{IMAGES}-{shard.name}", payload=item.payload, cost=item.cost, name=item.name)


def _select_images(row: Row) -> Row:
    """Return the part of a row that placing its images depends on, so that a changed answer copies no image."""
    frames, media = ([_select_file(file) for file in files] for files in (row["frames"], list_media(row)))
    return {"id": row["id"], "frames": frames, **({"media": media} if media else {})}


def _select_file(file: Mapping[str, Any]) -> Row:
    return {"path": file["path"], "sha256": file["sha256"]}


def _add_file_names(row: Row) -> Row:
    return {_FILE_NAMES: list(map(_choose_image_path, row["frames"])), **row}


def _choose_image_path(frame: Mapping[str, Any]) -> str:
    """Return the path of a frame in its split's folder. Its subfolder has the sample's name, or a hash of it.

    ``datasets`` takes any folder named ``test_1`` or ``my-train`` for that split, at any depth.
    """
    path = PurePosixPath(frame["path"])
    folder = path.parent.name
    if _SPLIT_NAME.search(folder):
        folder = hashlib.sha256(folder.encode()).hexdigest()[:16]
    return f"{IMAGES}/{folder}/{path.name}"


def _create_card_part(by_split: Mapping[str, list[Row]], params: DatasetParams, provenance: Mapping[str, Any]) -> Item:
    has_declared_types = params.format in {"jsonl", "webdataset"}  # the other formats store the types
    types = _infer_types(by_split) if has_declared_types else None
    about = CardFacts(params.license, params.embed_images, provenance)
    text = render_card(params.format, by_split, types, about)
    payload = {"kind": "card", "path": f"{FOLDER}/README.md", "split": "", "rows": [], "text": text}
    return Item(id="card", payload=payload, cost=0.01, name="README.md")


def _infer_types(by_split: Mapping[str, list[Row]]) -> dict[str, Type] | None:
    try:
        return _infer_all_types(by_split)
    except MixedTypesError:
        return None


# Writers: the bytes depend on the rows alone


def _write_jsonl(part: Mapping[str, Any], work: Workspace) -> None:
    with work.output(part["path"]).open("wb") as file:
        file.writelines(map(_encode_json_line, part["rows"]))


def _write_parquet(part: Mapping[str, Any], work: Workspace) -> None:
    table = pa.Table.from_pylist(part["rows"], schema=build_arrow_schema(part["types"]))
    pq.write_table(table, work.output(part["path"]), compression="zstd", version="2.6")


def _write_parquet_images(part: Mapping[str, Any], work: Workspace) -> None:
    write_parquet(work.output(part["path"]), part["rows"], part["types"], partial(_read_frame, work))


def _write_lance(part: Mapping[str, Any], work: Workspace) -> None:
    write_lance(work.output(part["path"]), part["rows"], part["types"], partial(_read_frame, work))


def _write_tar(part: Mapping[str, Any], work: Workspace) -> None:
    with tarfile.open(work.output(part["path"]), "w", format=tarfile.PAX_FORMAT) as tar:
        for key, row in zip(part["keys"], part["rows"], strict=True):
            _add_member(tar, f"{key}.json", _encode_json_line(row))
            for frame in row["frames"]:
                _add_member(tar, _name_member(key, frame), _read_frame(work, frame))
            for file in list_media(row):
                _add_member(tar, _name_media_member(key, file), _read_frame(work, file))


# The two empty blocks at the end of a tar, padded to a record.
_TAR_BYTES = 1024 + tarfile.RECORDSIZE


def _name_member(key: str, frame: Mapping[str, Any]) -> str:
    return f"{key}.{PurePosixPath(frame['path']).name}"


def _name_media_member(key: str, file: Mapping[str, Any]) -> str:
    """Return the name of a clip or an audio file; WebDataset takes the suffix for its field."""
    return f"{key}{PurePosixPath(file['path']).suffix}"


def _measure_member(name: str, size: int) -> int:
    """Return the bytes of a member in a tar: its headers, and its content in full blocks."""
    member = tarfile.TarInfo(name)
    member.size = size
    blocks = -(-size // tarfile.BLOCKSIZE)
    return len(member.tobuf(tarfile.PAX_FORMAT)) + blocks * tarfile.BLOCKSIZE


def _add_member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    """Add a member with tarfile's default header, so that it has no time, host or user: 1970, root, 0644."""
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _write_images(part: Mapping[str, Any], work: Workspace) -> None:
    for row in part["rows"]:
        for frame in row["frames"]:
            _read_frame(work, frame)
            _link_or_copy(
                get_published_file(work.output_dir, frame["path"]),
                work.output(f"{part['path']}/{_choose_image_path(frame)}"),
            )
        _link_files(row.get("media", ()), work)


def _write_frames(part: Mapping[str, Any], work: Workspace) -> None:
    """Link images at their own paths below the dataset, so that a row's paths are valid there too."""
    for row in part["rows"]:
        _link_files([*row["frames"], *row.get("media", ())], work)


def _link_files(files: Iterable[Mapping[str, Any]], work: Workspace) -> None:
    """Link published files at their own paths below the dataset."""
    for file in files:
        _read_frame(work, file)
        _link_or_copy(get_published_file(work.output_dir, file["path"]), work.output(f"{FOLDER}/{file['path']}"))


def _write_card(part: Mapping[str, Any], work: Workspace) -> None:
    work.output(part["path"]).write_text(part["text"], encoding="utf-8", newline="\n")


def _read_frame(work: Workspace, frame: Mapping[str, Any]) -> bytes:
    """Return the bytes of a published frame. Raises BadInput if they do not match its row."""
    advice = "run again with --verify digest to extract it again"
    try:
        content: bytes = get_published_file(work.output_dir, frame["path"]).read_bytes()
    except FileNotFoundError as error:
        raise BadInput(f"{frame['path']} is missing; {advice}") from error
    except PermissionError as error:
        raise BadInput(f"{frame['path']} {error.strerror}; {advice}") from error
    if hashlib.sha256(content).hexdigest() != frame["sha256"]:
        raise BadInput(f"{frame['path']} was changed after it was written; {advice}")
    return content


def _link_or_copy(source: Path, target: Path) -> None:
    """Create a hard link, which takes no disk space; copy if the file system has none."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


_PLANNERS: dict[Format, Callable[[Mapping[str, list[Row]], DatasetParams, Mapping[str, str]], list[Item]]] = {
    "jsonl": _plan_jsonl_parts,
    "parquet": _plan_parquet_parts,
    "lance": _plan_lance_parts,
    "webdataset": _plan_tar_parts,
    "imagefolder": _plan_imagefolder_parts,
}
_WRITERS: dict[str, Callable[[Mapping[str, Any], Workspace], None]] = {
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
    "parquet-images": _write_parquet_images,
    "lance": _write_lance,
    "frames": _write_frames,
    "tar": _write_tar,
    "images": _write_images,
    "card": _write_card,
    duplicates_report.KIND: duplicates_report.write_report,
}
