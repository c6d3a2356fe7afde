"""Damaged and malicious manifests, and the folder of their videos, created by seeded mutation as in corpus.py."""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tests.hostile.corpus import Targets

Expectation = Literal["refused", "read", "either"]
CONTROL_NAMES = ("esc\x1b[2Jape.mp4", "new\nline.mp4", "bell\x07.mp4", "tab\t.mp4", "c1\x9b31m.mp4", "line\u2028.mp4")


@dataclass(frozen=True)
class ManifestCase:
    """One hostile manifest: ``refused`` with a problem, ``read``, or either of them; no other result is allowed."""

    name: str
    family: str
    expects: Expectation


def write_video_folder(folder: Path, outside: Path, video: bytes) -> None:
    """Write a folder with one intact video, special files, and symlinks that point elsewhere."""
    (folder / "deep").mkdir(parents=True)
    for name in ("good.mp4", "deep/good.mp4", *CONTROL_NAMES):
        (folder / name).write_bytes(video)
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    links = {
        "inside.mp4": "good.mp4",
        "out.mp4": outside / "canary.txt",
        "twice.mp4": "out.mp4",
        "deep/out.mp4": Path("..") / ".." / outside.name / "canary.txt",
        "elsewhere": outside,
        "up": "..",
        "device.mp4": "/dev/zero",
        "ring.mp4": "ring.mp4",
        "dangling.mp4": "nowhere.mp4",
        "process.mp4": "/proc/self/mem",
    }
    for name, target in links.items():
        (folder / name).symlink_to(target)


def write_manifests(folder: Path, targets: Targets, seed: int) -> list[ManifestCase]:
    """Write the manifests into ``folder``; return their cases."""
    folder.mkdir(parents=True)
    manifests = [
        *_create_path_cases(targets),
        *_create_id_cases(),
        *_create_value_cases(),
        *_create_json_cases(seed),
        *_create_csv_cases(seed),
        *_create_parquet_cases(seed),
    ]
    for case, data in manifests:
        (folder / case.name).write_bytes(data)
    return [case for case, _ in manifests]


def _create_row(**values: Any) -> bytes:
    return json.dumps([{"id": "a", "video_path": "good.mp4", **values}]).encode()


def _create_path_cases(targets: Targets) -> Iterator[tuple[ManifestCase, bytes]]:
    canary = targets.canary
    refused = [
        f"../{canary.parent.name}/{canary.name}",
        "deep/../../outside/canary.txt",
        "good.mp4/..",
        "..",
        ".",
        "/",
        "/etc/passwd",
        str(canary),
        f"//{canary}",
        "C:\\videos\\a.mp4",
        "C:good.mp4",
        "\\\\host\\share\\a.mp4",
        "//host/share/a.mp4",
        "good.mp4\0",
        "good.mp4\0.txt",
        "\ud800.mp4",
        "~/good.mp4",
        "~root/a.mp4",
        "$HOME/a.mp4",
        f"http://127.0.0.1:{targets.port}/a.mp4",
        f"file:{canary}",
        f"concat:good.mp4|{canary}",
        "missing.mp4",
        "good.mp4/good.mp4",
        "n" * 5000 + ".mp4",
        "a/" * 3000 + "a.mp4",
        "pipe.mp4",
        "folder.mp4",
        "out.mp4",
        "twice.mp4",
        "deep/out.mp4",
        "elsewhere/canary.txt",
        "up/outside/canary.txt",
        "device.mp4",
        "ring.mp4",
        "dangling.mp4",
        "process.mp4",
        "-",
        " ",
        5,
        1.5,
        True,
        [],
        ["good.mp4"],
        {"path": "good.mp4"},
        None,
        *CONTROL_NAMES,
    ]
    for number, path in enumerate(refused):
        yield ManifestCase(f"path-{number}.json", "paths", "refused"), _create_row(video_path=path)
    for number, path in enumerate(("./good.mp4", "deep//good.mp4", "inside.mp4", "deep/./good.mp4")):
        yield ManifestCase(f"path-fine-{number}.json", "paths", "read"), _create_row(video_path=path)


def _create_id_cases() -> Iterator[tuple[ManifestCase, bytes]]:
    refused = [
        *("../x", "a/..", "a\\..\\b", "", " ", ".", "..", "a\nb", "a\0b", "a\x1b[31mb", "a" * 4097),
        *("\u202ea", "\ud800", "\ufeffa", True, False, 1.5, float("nan"), float("inf"), [], {}, ["a"]),
    ]
    read = [
        *(
            "a/b",
            "/etc/passwd",
            "a\\b",
            "C:\\a",
            ".hidden",
            "-x",
            "--output-dir=x",
            "_x",
            " a",
            "a ",
            "a b",
            "é",
            "中文",
        ),
        *("a:b", "a*", "a|b", "<b>", "${a}", "$(a)", "%2e%2e", "a;b", "nul", "a" * 4096, -1, 10**200),
    ]
    for number, name in enumerate(read):
        yield ManifestCase(f"id-fine-{number}.json", "ids", "read"), _create_row(id=name)
    for number, name in enumerate(refused):
        yield ManifestCase(f"id-{number}.json", "ids", "refused"), _create_row(id=name)
    twice = json.dumps([{"id": "a", "video_path": "good.mp4"}] * 2).encode()
    yield ManifestCase("id-twice.json", "ids", "refused"), twice
    both = json.dumps([{"id": name, "video_path": "good.mp4"} for name in (1, "1")]).encode()
    yield ManifestCase("id-number-and-text.json", "ids", "refused"), both


def _create_value_cases() -> Iterator[tuple[ManifestCase, bytes]]:
    nan, inf = float("nan"), float("inf")
    for number, seconds in enumerate(
        ([nan], [inf], [-inf], ["1"], [True], [None], [[1]], {"a": 1}, "1", 5, [10**400], "[1")
    ):
        yield ManifestCase(f"seconds-{number}.json", "values", "refused"), _create_row(support_frames=seconds)
    yield ManifestCase("seconds-many.json", "values", "read"), _create_row(support_frames=[1.5] * 200_000)
    yield ManifestCase("seconds-far.json", "values", "read"), _create_row(support_frames=[1e308, -1e308, 5e-324])
    yield ManifestCase("infinite.json", "values", "refused"), _create_row(more=inf)
    yield ManifestCase("infinite-within.json", "values", "refused"), _create_row(more={"a": [1, {"b": -inf}]})
    yield ManifestCase("surrogate.json", "values", "refused"), _create_row(more="\udc80")
    yield ManifestCase("surrogate-name.json", "values", "refused"), _create_row(**{"more\udc80": 1})
    yield ManifestCase("surrogate-name-within.json", "values", "refused"), _create_row(more={"\udc80": 1})
    yield ManifestCase("not-a-number.json", "values", "read"), _create_row(more=nan)
    yield ManifestCase("prototype.json", "values", "read"), _create_row(__proto__=1, __class__="os.system")
    yield ManifestCase("reserved.json", "values", "refused"), _create_row(frames=[1])
    yield ManifestCase("control-column.json", "values", "either"), _create_row(**{"a\x1b[2Jb\n": inf})
    names = {f"column {number}": number for number in range(20_000)}
    yield ManifestCase("columns.json", "values", "read"), _create_row(**names)


def _create_json_cases(seed: int) -> Iterator[tuple[ManifestCase, bytes]]:
    row = b'{"id": "a", "video_path": "good.mp4", "more": %s}'
    for depth in (100, 300, 480, 900, 100_000):
        deep = b"[" * depth + b"]" * depth
        yield ManifestCase(f"deep-{depth}.jsonl", "JSON", "refused"), row % deep
        objects = b'{"a":' * depth + b"1" + b"}" * depth
        yield ManifestCase(f"deep-objects-{depth}.json", "JSON", "refused"), b"[" + row % objects + b"]"
        path = b'[{"id": %s, "video_path": %s, "support_frames": %s}]' % (deep, deep, deep)
        yield ManifestCase(f"deep-known-{depth}.json", "JSON", "refused"), path
    refused = {
        "key-twice.json": b'[{"id": "a", "id": "b", "video_path": "good.mp4"}]',
        "key-twice.jsonl": b'{"id": "a", "video_path": "good.mp4", "video_path": "../outside/canary.txt"}',
        "key-twice-within.json": b"[" + row % b'{"a": 1, "a": 2}' + b"]",
        "data-twice.json": b'{"data": [], "data": [{"id": "a", "video_path": "good.mp4"}]}',
        "overflow.json": b"[" + row % b"1e999" + b"]",
        "overflow-seconds.json": b'[{"id": "a", "video_path": "good.mp4", "support_frames": [1e999]}]',
        "digits.json": b"[" + row % (b"9" * 5000) + b"]",
        "digits.jsonl": row % (b"9" * 1_000_000),
        "utf16.json": ("[" + "x" * 9 + "]").encode("utf-16"),
        "utf32.json": "[]".encode("utf-32-le"),
        "not-utf8.jsonl": row % b'"\xff\xfe\x80"',
        "overlong.json": b"[" + row % b'"\xc0\xae\xc0\xae/"' + b"]",
        "nul.json": b"\0" * 1000,
        "nul.jsonl": b"\0\n" * 1000,
        "empty.json": b"",
        "blank.jsonl": b" \n\t\n" * 100,
        "scalar.json": b"5",
        "object.json": b'{"rows": []}',
        "object-data.json": b'{"data": {"id": "a"}}',
        "texts.json": b'["a", "b", 5, null, []]',
        "nothing.json": b"[]",
        "comment.json": b"// hello\n[]",
        "two.json": b"[] []",
        "python.json": b"__import__('os').system('touch pwned')",
        "pickle.json": b"\x80\x04cposix\nsystem\n(S'touch pwned'\ntR.",
        "yaml.json": b"!!python/object/apply:os.system ['touch pwned']",
        "suffix.pickle": b"\x80\x04.",
        "suffix.xml": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>',
        "suffix.yaml": b"- a",
        "suffix.xlsx": b"PK\3\4",
        "no-suffix": b"[]",
    }
    for name, data in refused.items():
        yield ManifestCase(name, "JSON", "refused"), data
    yield ManifestCase("long-line.jsonl", "JSON", "read"), row % (b'"' + b"x" * 20_000_000 + b'"')
    yield ManifestCase("signed.json", "JSON", "read"), b"\xef\xbb\xbf" + _create_row()
    yield ManifestCase("many-broken.jsonl", "JSON", "refused"), b"{\n" * 100_000
    intact = json.dumps([{"id": f"s{n}", "video_path": "good.mp4", "q": [n, "x"]} for n in range(20)]).encode()
    yield from _mutate("sound.json", intact, "JSON", seed, 25)


def _create_csv_cases(seed: int) -> Iterator[tuple[ManifestCase, bytes]]:
    head = b"id,video_path,more\n"
    refused = {
        "nul.csv": b"\0" * 1000,
        "nul-path.csv": head + b"a,good\0.mp4,x\n",
        "nul-id.csv": head + b"a\0,good.mp4,x\n",
        "quote.csv": head + b'a,"good.mp4,x\n' * 10,
        "after-quote.csv": head + b'a,"good.mp4"x,x\n',
        "cell.csv": head + b"a,good.mp4," + b"x" * 200_000 + b"\n",
        "cells.csv": head + b"a,good.mp4" + b"," * 100_000 + b"\n",
        "few.csv": head + b"a\n",
        "heads.csv": b"id,id,video_path\na,b,good.mp4\n",
        "unnamed.csv": b"id,video_path,\na,good.mp4,x\n",
        "control-head.csv": b"id,video_path,a\x1b[2Jb,a\x1b[2Jb\na,good.mp4,x,y\n",
        "no-head.csv": b"a,good.mp4,x\nb,good.mp4,y\n",
        "control-no-head.csv": b"\x1b]0;title\x07,good.mp4,x\nb,good.mp4,y\n",
        "only-head.csv": head,
        "utf16.csv": "id,video_path\na,good.mp4\n".encode("utf-16"),
        "latin1.csv": head + "a,good.mp4,é\n".encode("latin-1"),
        "seconds.csv": b"id,video_path,support_frames\na,good.mp4,1;2;inf\n",
        "seconds-nan.csv": b'id,video_path,support_frames\na,good.mp4,"[1, NaN]"\n',
        "seconds-deep.csv": b"id,video_path,support_frames\na,good.mp4," + b"[" * 100_000 + b"\n",
        "carriage.csv": head + b"a\rb,good.mp4,x\n",
        "tabs.csv": b"id\tvideo_path\na\tgood.mp4\n",
        "out.tsv": b"id\tvideo_path\na\t../outside/canary.txt\n",
    }
    for name, data in refused.items():
        yield ManifestCase(name, "CSV", "refused"), data
    yield ManifestCase("formula.csv", "CSV", "read"), head + b"a,good.mp4,=cmd|' /C calc'!A0\n"
    intact = head + b"".join(b's%d,good.mp4,"x, %d"\n' % (number, number) for number in range(20))
    yield from _mutate("sound.csv", intact, "CSV", seed, 25)


def _create_parquet_cases(seed: int) -> Iterator[tuple[ManifestCase, bytes]]:
    valid = {"id": ["a"], "video_path": ["good.mp4"]}
    refused = {
        "bytes-id": {**valid, "id": [b"a"]},
        "bytes": {**valid, "more": [b"\xff"]},
        "decimal": {**valid, "more": [Decimal("1.5")]},
        "path-bytes": {**valid, "video_path": [b"good.mp4"]},
        "nulls": {"id": [None], "video_path": [None]},
        "columns": {"name": ["a"]},
        "escape": {**valid, "video_path": ["../outside/canary.txt"]},
        "year": {**valid, "more": pa.array([2**62], pa.timestamp("us"))},
        "day": {**valid, "more": pa.array([2**31 - 1], pa.date32())},
        "zone": {**valid, "more": pa.array([0], pa.timestamp("s", "../../../../etc/passwd"))},
        "length": {**valid, "more": pa.array([1], pa.duration("s"))},
        "not-utf8": {**valid, "more": pa.array([b"\xff"], pa.binary()).view(pa.string())},
    }
    for name, columns in refused.items():
        yield ManifestCase(f"{name}.parquet", "Parquet", "refused"), _encode_table(pa.table(columns))
    read = {
        "dates": {**valid, "more": [date(2020, 1, 1)], "when": [datetime(2020, 1, 1, 1)]},
        "lists": {**valid, "more": [[1, 2]], "within": [{"a": [{"b": None}]}]},
        "nan": {**valid, "more": [float("nan")]},
    }
    for name, columns in read.items():
        yield ManifestCase(f"{name}.parquet", "Parquet", "read"), _encode_table(pa.table(columns))
    twice = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"]), pa.array(["good.mp4"])], ["id", "id", "video_path"])
    yield ManifestCase("columns-twice.parquet", "Parquet", "refused"), _encode_table(twice)
    deep = pa.array([1])
    for _ in range(90):
        deep = pa.StructArray.from_arrays([deep], ["a"])
    yield ManifestCase("deep.parquet", "Parquet", "refused"), _encode_table(pa.table({**valid, "more": deep}))
    yield ManifestCase("rows-bomb.parquet", "Parquet", "refused"), _encode_table(pa.table({"id": pa.nulls(60_000_000)}))
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), pa.array(["x" * 2_000_000]))
    bomb = pa.table({"id": [str(number) for number in range(5000)], "video_path": ["good.mp4"] * 5000, "more": text})
    yield ManifestCase("text-bomb.parquet", "Parquet", "refused"), _encode_table(bomb)
    rows = {"id": [f"s{n}" for n in range(200)], "video_path": ["good.mp4"] * 200, "n": list(range(200))}
    intact = _encode_table(pa.table({**rows, "list": [[n, n] for n in range(200)], "text": ["word"] * 200}))
    yield from _mutate("sound.parquet", intact, "Parquet", seed, 16)
    for number, state in enumerate(("3 s.parquet 121", "12 s.parquet 33")):  # Arrow 26 aborts its process on these
        rng = random.Random(state)
        yield ManifestCase(f"abort-{number}.parquet", "Parquet", "either"), _damage(intact, rng)


def _encode_table(table: pa.Table) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def _mutate(name: str, data: bytes, family: str, seed: int, count: int) -> Iterator[tuple[ManifestCase, bytes]]:
    """Yield mutated manifests: a quarter of them truncated, the others with some bytes changed."""
    for number in range(count):
        rng = random.Random(f"{seed} {name} {number}")
        damaged = _damage(data, rng) if number % 4 else data[: rng.randrange(1, len(data))]
        yield ManifestCase(f"{number}-{name}", family, "either"), damaged


def _damage(data: bytes, rng: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice([1, 3, 20])):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)
