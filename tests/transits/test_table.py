"""The table: what stars leave, joined into Parquet and CSV, read back as people read them."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from astropy.table import Table

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.stage import Workspace
from tasks.transits.columns import COLUMNS, choose_free_names
from tasks.transits.table import (
    CSV,
    PARQUET,
    Document,
    FeaturesStage,
    GivenRow,
    StarFile,
    build_extra_column,
    encode_rows,
    join_documents,
    make_table_items,
    read_document,
    write_csv,
)

NAMES = [column.name for column in COLUMNS]
ONE_THIRD = 1 / 3
QUOTED = 'WASP-126 "the first",\nsecond line \N{SNOWMAN} \u2028 \t \r end'


def make_row(target="TIC 1", number=1, **values):
    own = {"target_id": target, "candidate_number": number, "candidates": 1, "period_days": 3.0, "depth_ppm": 640.0}
    own |= {"origin": "search"}
    return {**own, "stellar_parameters_assumed": False, "false_positive_flags": "", **values}


def publish(folder: Path, documents):
    """Write star files like those of the star stage; ``documents`` are (rows, fields) by id."""
    stars = []
    for star_id, (rows, fields) in documents.items():
        content = encode_rows(rows)
        path = folder / "stars" / f"{star_id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        stars.append(StarFile(star_id, f"stars/{star_id}.json", digest, fields=fields))
    return stars


def run(folder: Path, stars):
    (item,) = make_table_items(stars)
    result = FeaturesStage().run(item, Workspace(folder / "private", folder / "scratch", folder))
    return result, (folder / "private" / PARQUET).read_bytes(), (folder / "private" / CSV).read_bytes()


@pytest.fixture
def outputs(tmp_path):
    """Return outputs of four rows: two candidates of a star, one of another, and a star without any."""
    masked = make_row("c", None, candidates=0, period_days=None, depth_ppm=None, false_positive_flags=None)
    documents = {
        "a": (
            [make_row("a", 1, period_days=ONE_THIRD), make_row("a", 2, depth_ppm=1e-7)],
            {"vmag": 10.5, "seen": True},
        ),
        "b": ([make_row("b", 1, label=QUOTED, false_positive_flags="v_shape;weak")], {"vmag": 11, "comment": "=1+1"}),
        "c": ([{**masked, "mask_reasons": "period_days=no_candidate"}], {}),
    }
    return run(tmp_path, publish(tmp_path, documents))


def test_target_columns_follow_declared_ones_in_order_of_appearance(outputs) -> None:
    _, parquet, text = outputs
    expected = [*NAMES, "vmag", "seen", "comment"]
    assert pq.read_table(io.BytesIO(parquet)).column_names == expected
    assert next(csv.reader(io.StringIO(text.decode()))) == expected


def test_parquet_has_declared_types_units_and_sources(outputs) -> None:
    schema = pq.read_schema(io.BytesIO(outputs[1]))
    for column in COLUMNS:
        field = schema.field(column.name)
        assert field.type == pa.type_for_alias(column.type)
        told = {key: value.decode() for key, value in field.metadata.items() if not key.startswith(b"PARQUET")}
        assert told == {b"unit": column.unit, b"description": column.description, b"source": column.source}
    assert schema.field("vmag").metadata[b"source"] == b"the target list"


def test_rows_are_in_the_order_of_the_targets_and_counted(outputs) -> None:
    result, parquet, _ = outputs
    assert pq.read_table(io.BytesIO(parquet)).column("target_id").to_pylist() == ["a", "a", "b", "c"]
    counts = {"stars": 3, "rows": 4, "candidates": 3, "given_candidates": 0, "failed_stars": 0}
    assert result.values == counts


def test_pandas_reads_equal_tables_from_both_files(outputs) -> None:
    _, parquet, text = outputs
    one = pd.read_parquet(io.BytesIO(parquet))
    other = pd.read_csv(io.BytesIO(text), float_precision="round_trip")
    assert list(one.columns) == list(other.columns)
    assert one["period_days"].tolist()[:3] == other["period_days"].tolist()[:3] == [ONE_THIRD, 3.0, 3.0]
    assert one["period_days"].isna().tolist() == other["period_days"].isna().tolist() == [False, False, False, True]
    assert other["depth_ppm"][1] == 1e-7
    assert other["vmag"].tolist()[:3] == [10.5, 10.5, 11.0]
    assert other["stellar_parameters_assumed"].dtype == bool


def test_quotes_line_ends_and_unicode_are_preserved(outputs) -> None:
    _, parquet, text = outputs
    assert pq.read_table(io.BytesIO(parquet)).column("label")[2].as_py() == QUOTED
    assert list(csv.DictReader(io.StringIO(text.decode(), newline="")))[2]["label"] == QUOTED
    assert pd.read_csv(io.BytesIO(text))["label"][2] == QUOTED


def test_astropy_reads_both_files(outputs, tmp_path) -> None:
    _, parquet, text = outputs
    (tmp_path / "t.parquet").write_bytes(parquet)
    (tmp_path / "t.csv").write_bytes(text)
    one, other = Table.read(tmp_path / "t.parquet"), Table.read(tmp_path / "t.csv", format="ascii.csv")
    assert one.colnames == other.colnames
    assert list(one["target_id"]) == list(other["target_id"]) == ["a", "a", "b", "c"]
    assert list(one["period_days"][:3]) == list(other["period_days"][:3]) == [ONE_THIRD, 3.0, 3.0]
    assert one["label"][2] == QUOTED
    assert np.isnan(one["period_days"][3])
    assert other["period_days"].mask.tolist() == [False, False, False, True]
    assert other["vmag"].dtype == one["vmag"].dtype == np.float64


def test_csv_is_utf8_with_plain_line_ends_and_empty_cells(outputs) -> None:
    text = outputs[2]
    assert not text.startswith(b"\xef\xbb\xbf")
    assert text.endswith(b"\n")
    assert text.count(b"\r") == 1  # the one within a cell
    last = list(csv.DictReader(io.StringIO(text.decode(), newline="")))[3]
    assert [last[name] for name in ("candidate_number", "period_days", "label", "seen", "comment")] == [""] * 5
    assert b"nan" not in text.lower().replace(b"planet", b"")


def test_same_rows_give_the_same_bytes(tmp_path) -> None:
    documents = {f"s{n}": ([make_row(f"s{n}", 1, snr=n / 7)], {"x": n}) for n in range(50)}
    first = run(tmp_path / "one", publish(tmp_path / "one", documents))
    backwards = publish(tmp_path / "two", dict(reversed(documents.items())))  # done in another order
    assert run(tmp_path / "two", sorted(backwards, key=lambda star: int(star.id[1:])))[1:] == first[1:]


def test_key_depends_on_the_digests(tmp_path) -> None:
    stars = publish(tmp_path, {"a": ([make_row()], {}), "b": ([make_row("b")], {})})
    (item,) = make_table_items(iter(stars))
    assert [star["sha256"] for star in item.payload["stars"]] == [star.sha256 for star in stars]
    assert json.loads(json.dumps(item.payload)) == item.payload
    changed = publish(tmp_path, {"a": ([make_row(snr=7.0)], {}), "b": ([make_row("b")], {})})
    assert make_table_items(changed)[0].payload != item.payload
    assert make_table_items(reversed(stars))[0].payload != item.payload


def test_no_stars_give_no_table() -> None:
    assert make_table_items([]) == []


def test_stars_without_rows_give_an_empty_table(tmp_path) -> None:
    result, parquet, text = run(tmp_path, publish(tmp_path, {"a": ([], {"vmag": 1.0})}))
    assert pq.read_table(io.BytesIO(parquet)).num_rows == 0
    assert text.decode() == ",".join(NAMES) + "\n"
    assert (result.values["stars"], result.values["rows"], result.values["candidates"]) == (1, 0, 0)


def test_rows_beyond_one_batch_keep_their_order_and_their_own_columns() -> None:
    documents = (Document([make_row(str(n))], [{"late": n} if n == 9999 else {}]) for n in range(10_000))
    table = join_documents(documents)
    assert table.column("target_id").to_pylist() == [str(n) for n in range(10_000)]
    assert table.column("late").null_count == 9999
    assert table.column("late")[9999].as_py() == 9999


def test_changed_labels_and_fields_do_not_rerun_stars(tmp_path) -> None:
    (star,) = publish(tmp_path, {"a": ([make_row("a", 1), make_row("a", 2)], {"vmag": 1.0})})
    told = dataclasses.replace(star, label="bright", fields={"vmag": 9.5, "note": "\r"})
    _, parquet, text = run(tmp_path, [told])
    table = pq.read_table(io.BytesIO(parquet)).to_pydict()
    assert (table["label"], table["vmag"], table["note"]) == (["bright"] * 2, [9.5] * 2, ["\r"] * 2)
    assert [line["note"] for line in csv.DictReader(io.StringIO(text.decode(), newline=""))] == ["\r"] * 2
    assert make_table_items([told])[0].payload != make_table_items([star])[0].payload


# Rows of a star


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"periods": 1.0}, "no such column: periods"),
        ({"period_days": "3.0"}, "period_days: '3.0' is not a float64"),
        ({"transits_observed": 2.0}, "transits_observed: 2.0 is not a int64"),
        ({"transits_observed": True}, "transits_observed: True is not a int64"),
        ({"stellar_parameters_assumed": 1}, "stellar_parameters_assumed: 1 is not a bool"),
        ({"label": ["x"]}, "label: \\['x'\\] is not a string"),
        ({"snr": float("nan")}, "not JSON compliant"),
        ({"snr": float("inf")}, "not JSON compliant"),
    ],
)
def test_invalid_row_is_rejected_on_writing(values, message) -> None:
    with pytest.raises(ValueError, match=message):
        encode_rows([make_row(**values)])


def test_row_is_written_with_all_columns_in_order() -> None:
    (written,) = json.loads(encode_rows([make_row()]))["rows"]
    assert list(written) == NAMES


def test_missing_or_modified_star_file_is_named_in_the_error(tmp_path) -> None:
    (star,) = publish(tmp_path, {"a": ([make_row()], {})})
    path = tmp_path / star.path
    path.write_bytes(path.read_bytes().replace(b"640.0", b"641.0"))
    with pytest.raises(BadInput, match=r"stars/a\.json was modified after it was published; run again"):
        read_document(star, tmp_path)
    path.unlink()
    with pytest.raises(BadInput, match=r"stars/a\.json cannot be read \(No such file"):
        read_document(star, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b'{"rows": [{"snr": NaN}]}',
        b'{"rows": [{"snr": "7"}]}',
        b'{"rows": [{"no_column": 1}]}',
        b'{"rows": [1]}',
        b'{"stars": []}',
        b"[]",
        b"\xff\xfe",
        b"[" * 200_000,
        b"",
    ],
)
def test_invalid_star_file_is_rejected_despite_its_digest(tmp_path, content) -> None:
    (tmp_path / "a.json").write_bytes(content)
    star = StarFile("a", "a.json", hashlib.sha256(content).hexdigest())
    with pytest.raises(BadInput, match=r"a\.json does not hold a star's rows"):
        read_document(star, tmp_path)


# The target list's own columns


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([1, None, 2], "int64", [1, None, 2]),
        ([1, 2.5, None], "float64", [1.0, 2.5, None]),
        ([2**53 + 1, 0.5], "string", ["9007199254740993", "0.5"]),
        ([True, None], "bool", [True, None]),
        ([True, 1], "string", ["true", "1"]),
        (["a", 1, None, 2.5], "string", ["a", "1", None, "2.5"]),
        (["1", "007"], "string", ["1", "007"]),
        ([2**63], "string", ["9223372036854775808"]),
        ([[1, "ü"], {"b": None}], "string", ['[1, "ü"]', '{"b": null}']),
        ([None, None], "string", [None, None]),
        ([], "string", []),
    ],
)
def test_mixed_types_are_merged_or_become_text(values, kind, expected) -> None:
    column = build_extra_column(values)
    assert str(column.type) == {"float64": "double"}.get(kind, kind)
    assert column.to_pylist() == expected


def test_declared_column_is_never_overwritten() -> None:
    known = {"period_days": 3.1, "target_list_period_days": "other", "label": "x"}
    table = join_documents([Document([make_row()], [known])])
    assert choose_free_names(known) == [
        "target_list_target_list_period_days",
        "target_list_period_days",
        "target_list_label",
    ]
    assert table.column("period_days").to_pylist() == [3.0]
    assert table.column("target_list_target_list_period_days").to_pylist() == [3.1]
    assert table.column("target_list_period_days").to_pylist() == ["other"]
    assert len(set(table.column_names)) == len(table.column_names)


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=1+1", "'=1+1"),
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("+'file:///etc/passwd'#$x.A1", "'+'file:///etc/passwd'#$x.A1"),
        ("-45 12 03.1", "-45 12 03.1"),
        ("+12:30:00", "+12:30:00"),
        ("-", "-"),
        ("a=b", "a=b"),
        ("BD+20 1790", "BD+20 1790"),
    ],
)
def test_formulas_are_escaped_in_csv_only(cell, written) -> None:
    table = join_documents([Document([make_row()], [{"comment": cell, cell: 1}])])
    assert table.column("comment").to_pylist() == [cell]
    file = io.StringIO()
    write_csv(table, file)
    (header, values) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert values[header.index("comment")] == header[-1] == written


def test_negative_numbers_are_not_formulas() -> None:
    file = io.StringIO()
    write_csv(join_documents([Document([make_row(depth_ppm=-12.5)], [{"dec": -30}])]), file)
    read = pa.csv.read_csv(io.BytesIO(file.getvalue().encode()))
    assert read.column("depth_ppm").to_pylist() == [-12.5]
    assert read.column("dec").to_pylist() == [-30]


def test_files_of_a_star_are_in_its_rows_and_do_not_rerun_it(tmp_path) -> None:
    (star,) = publish(tmp_path, {"a": ([make_row("中文"), make_row("中文", 2)], {})})
    named = dataclasses.replace(star, files=["한국어/a.csv", "b.csv"])
    table = join_documents([read_document(each, tmp_path) for each in (named, star)])
    assert table.column("files").to_pylist() == [2, 2, None, None]
    assert table.column("path").to_pylist() == ["한국어/a.csv;b.csv"] * 2 + [None] * 2
    assert table.column("target_id").to_pylist() == ["中文"] * 4


# Given candidates and failed stars


def test_rows_have_the_label_and_fields_of_their_own_candidate(tmp_path) -> None:
    rows = [
        make_row("a", 1, match=2),
        make_row("a", 2),
        make_row("a", 1, origin="given"),
        make_row("a", 2, origin="given", match=1),
    ]
    (star,) = publish(tmp_path, {"a": (rows, {"tmag": 9.5})})
    given = [GivenRow("x", {"tmag": 9.5, "toi": "1.01"}), GivenRow(None, {"tmag": 9.5, "toi": "1.02"})]
    result, parquet, _ = run(tmp_path, [dataclasses.replace(star, given=given)])
    table = pq.read_table(io.BytesIO(parquet)).to_pydict()
    assert table["label"] == [None, None, "x", None]
    assert table["toi"] == ["1.02", None, "1.01", "1.02"]
    assert table["tmag"] == [9.5] * 4
    assert (result.values["candidates"], result.values["given_candidates"]) == (2, 2)


def test_failed_star_keeps_its_rows_labels_and_reason(tmp_path) -> None:
    given = [GivenRow("b", {"toi": 1}), GivenRow("c", {"toi": 2})]
    failed = StarFile("a", failure="bad_input: a.csv: the file is empty", name="TIC 1", mission="TESS", files=["a.csv"])
    stars = [dataclasses.replace(failed, given=given), dataclasses.replace(failed, id="d", name="d", label="quiet")]
    result, parquet, text = run(tmp_path, stars)
    table = pq.read_table(io.BytesIO(parquet)).to_pydict()
    assert table["target_id"] == ["TIC 1", "TIC 1", "d"]
    assert table["candidate_number"] == [1, 2, None]
    assert table["label"] == ["b", "c", "quiet"]
    assert table["path"] == ["a.csv"] * 3
    assert table["failure"] == ["bad_input: a.csv: the file is empty"] * 3
    assert [reasons.count("=failed") for reasons in table["mask_reasons"]] == [27] * 3
    assert result.values["failed_stars"] == 2
    assert text.decode().count("the file is empty") == 3


def test_types_of_a_parquet_target_list_are_preserved(tmp_path) -> None:
    fields = {"seen": "2026-11-30T01:02:03", "small": 3, "empty": None, "odd": "x"}
    (star,) = publish(tmp_path, {"a": ([make_row("a", 1)], fields)})
    types = {"label": "int64", "seen": "timestamp[us]", "small": "int16", "empty": "double", "odd": "int64"}
    (item,) = make_table_items([dataclasses.replace(star, label="1")], types)
    FeaturesStage().run(item, Workspace(tmp_path / "private", tmp_path / "scratch", tmp_path))
    schema = pq.read_schema(tmp_path / "private" / PARQUET)
    found = {name: str(schema.field(name).type) for name in types}
    assert found == {**types, "odd": "string"}
    assert pq.read_table(tmp_path / "private" / PARQUET).column("label").to_pylist() == [1]
