"""Tables of targets as archives and users write them: candidates, names of columns, units, unknown values."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.transits.given import Ephemeris
from tasks.transits.light_curve import Star
from tasks.transits.targets import Target, make_star_items, read_targets

COMMENTS = ("# This file was produced by an archive", "#", '# COLUMN kepid: "KepID, of the star', "")


def write_table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(table: Path, id_column: str | None = None, reserved: tuple[str, ...] = ()) -> tuple[list[Target], list[str]]:
    notes: list[str] = []
    targets, problems = read_targets(table, None, "mast", reserved, notes, id_column)
    assert [str(problem) for problem in problems] == []
    return targets, notes


def test_table_of_koi_has_one_star_with_two_candidates(tmp_path: Path) -> None:
    header = "kepid,kepoi_name,koi_disposition,koi_period,koi_time0bk,koi_duration,koi_depth,koi_srad,koi_smass"
    rows = [
        "6541920,K00157.01,CONFIRMED,13.02,131.5,4.8,1000,1.05,0.99",
        "6541920,K00157.02,CONFIRMED,22.68,,,,1.05,0.99",
        "8395660,K00116.01,CONFIRMED,13.57,,,,,",
    ]
    targets, notes = read(write_table(tmp_path / "koi.csv", *COMMENTS, header, *rows, "# end"))
    assert [target.name for target in targets] == ["KIC 6541920", "KIC 8395660"]
    first, second = targets[0].candidates
    assert first.ephemeris == Ephemeris(13.02, 2454833 + 131.5, pytest.approx(0.2), pytest.approx(1e-3))
    assert second.ephemeris == Ephemeris(22.68)
    assert (first.label, second.label, targets[1].candidates[0].label) == ("K00157.01", "K00157.02", "K00116.01")
    assert targets[0].star == Star(1.05, 0.99)
    assert targets[0].mission == "Kepler"
    assert targets[0].fields["koi_disposition"] == "CONFIRMED"
    assert "koi_period" not in targets[0].fields, "it differs between the candidates"
    assert first.fields["koi_period"] == 13.02, "columns of archives are copied"
    assert "'kepid' as target_id (KIC)" in notes[0]
    assert "'koi_period' as period" in notes[0]


@pytest.mark.parametrize(
    ("header", "row", "name", "ephemeris"),
    [
        (
            "toi,tid,pl_orbper,pl_tranmid,pl_trandurh,pl_trandep",
            "114.01,25155310,3.2888,2458327.5,2.4,6100",
            "TIC 25155310",
            Ephemeris(3.2888, 2458327.5, pytest.approx(0.1), pytest.approx(0.0061)),
        ),
        (
            "TIC ID,TOI,Period (days),Epoch (BJD),Duration (hours),Depth (ppm),Depth (mmag)",
            "25155310,114.01,3.2888,2458327.5,2.4,6100,6.6",
            "TIC 25155310",
            Ephemeris(3.2888, 2458327.5, pytest.approx(0.1), pytest.approx(0.0061)),
        ),
        (
            "pl_name,hostname,tic_id,pl_orbper,pl_trandur,pl_trandep",
            "WASP-126 b,WASP-126,TIC 25155310,3.2888,2.4,0.61",
            "TIC 25155310",
            Ephemeris(3.2888, None, pytest.approx(0.1), pytest.approx(0.0061)),
        ),
        ("target_id,period,epoch_btjd", "TIC 25155310.0,3.2888,1327.5", "TIC 25155310", Ephemeris(3.2888, 2458327.5)),
        ("target_id,period,epoch_bkjd", "kplr006541920,13,131.5", "KIC 6541920", Ephemeris(13.0, 2454964.5)),
        (
            "target_id,period_days,transit_time_days,time_system",
            "TIC 25155310,3.2888,1327.5,BTJD",
            "TIC 25155310",
            Ephemeris(3.2888, 2458327.5),
        ),
        (
            "epic_candname,epic_number,pl_orbper",
            "EPIC 201367065.01,201367065,10.05",
            "EPIC 201367065",
            Ephemeris(10.05),
        ),
    ],
)
def test_columns_of_archives_are_recognized_with_their_units(
    tmp_path: Path, header: str, row: str, name: str, ephemeris: Ephemeris
) -> None:
    (target,), _ = read(write_table(tmp_path / "t.csv", header, row))
    assert target.name == name
    assert [candidate.ephemeris for candidate in target.candidates] == [ephemeris]


def test_nan_minus_one_and_zero_are_unknown_and_counted(tmp_path: Path) -> None:
    rows = [
        "25155310.0,TESS,1,nan,NaN,",
        "38846515.0,TESS,0,-1,0,0",
        "149603524.0,TESS,0,0,,-1",
        "231663901,TESS,1,1,1,2",
    ]
    header = "target_id,mission,label,stellar_radius,stellar_mass,period"
    targets, notes = read(write_table(tmp_path / "t.csv", header, *rows))
    assert [target.star for target in targets] == [Star()] * 3 + [Star(1.0, 1.0)]
    assert [target.label for target in targets] == ["1", "0", "0", None]
    assert [len(target.candidates) for target in targets] == [0, 0, 0, 1]
    assert notes == [
        "t.csv: read nan, -1 and 0 as unknown: 'period' 2 times, 'stellar_mass' 2 times, 'stellar_radius' 3 times"
    ]


def test_column_of_the_star_can_be_chosen(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "target_id,gaia,host", "row 1,5,TIC 7.0")
    (target,), notes = read(table, "host", ("target_id",))
    assert target.name == "TIC 7"
    assert target.fields == {"target_id": "row 1", "gaia": 5, "host": "TIC 7.0"}
    assert "t.csv: renamed 'target_id' to 'target_list_target_id': the results have columns of these names" in notes
    problems = read_targets(table, None, "mast", (), [], "star")[1]
    assert "--id-column: no column 'star'; allowed: target_id, gaia, host" in str(problems[0])


def test_columns_with_names_of_the_results_are_renamed(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "target_id,sde,epoch,duration_days", "TIC 7,5,2000,3")
    (target,), notes = read(table, None, ("sde", "duration_days"))
    assert target.fields == {"sde": 5, "epoch": 2000, "duration_days": 3}, "no period: no candidate"
    renamed = "'sde' to 'target_list_sde', 'duration_days' to 'target_list_duration_days'"
    assert notes == [f"t.csv: renamed {renamed}: the results have columns of these names"]


def test_rows_of_a_star_may_lack_a_period_but_not_repeat_or_contradict(tmp_path: Path) -> None:
    rows = ["TIC 7,1,b,3.5,1.0", "TIC 7,1,c,,", "tic7,1,d,nan,0.9"]
    table = write_table(tmp_path / "t.csv", "target_id,sector,label,period,mass", *rows)
    (target,), notes = read(table)
    assert [each.ephemeris.period_days for each in target.candidates] == [3.5, None, None]
    assert target.star == Star(mass=1.0)
    assert "t.csv: stellar parameters differ between the rows of TIC 7; the first value of each is used" in notes
    write_table(table, "target_id,sector,label,period", "TIC 7,1,b,3.5", "TIC 7,1,b,3.5", "TIC 7,2,c,4")
    told = [str(problem) for problem in read_targets(table, None, "mast")[1]]
    assert "the same candidate of 'TIC 7' as in t.csv line 2; allowed: each candidate once" in told[0]
    assert "another choice of segments of 'TIC 7' than in t.csv line 2; allowed: the same in all rows" in told[1]


def test_items_have_the_ephemerides_but_not_the_labels(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "target_id,label,period,tmag", "TIC 7,b,3.5,9", "TIC 7,c,5,9")
    targets, _ = read(table)
    (item,) = make_star_items(targets)
    blank = {"epoch_bjd": None, "duration_days": None, "depth": None}
    assert item.payload["candidates"] == [{"period_days": 3.5, **blank}, {"period_days": 5.0, **blank}]
    assert item.fields == {"tmag": 9}


def test_parquet_tables_give_candidates_too(tmp_path: Path) -> None:
    columns = {"tid": [25155310, 25155310], "pl_orbper": [3.2888, float("nan")], "toi": [114.01, 114.02]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    (target,), _ = read(tmp_path / "t.parquet")
    assert [each.ephemeris.period_days for each in target.candidates] == [3.2888, None]
    assert [each.label for each in target.candidates] == ["114.01", "114.02"]
    assert target.types == {"tid": "int64", "pl_orbper": "double", "toi": "double", "label": "double"}


def test_numbers_in_csv_are_numbers_unless_they_would_change(tmp_path: Path) -> None:
    rows = ["TIC 1,1,9.25,007,114.01,1e3", "TIC 2,2,10,8,700.10,", "TIC 3,,-0.5,9,1,2.0"]
    targets, _ = read(write_table(tmp_path / "t.csv", "target_id,n,tmag,code,toi,x", *rows))
    assert [target.fields for target in targets] == [
        {"n": 1, "tmag": 9.25, "code": "007", "toi": "114.01", "x": "1e3"},
        {"n": 2, "tmag": 10.0, "code": "8", "toi": "700.10", "x": None},
        {"n": None, "tmag": -0.5, "code": "9", "toi": "1", "x": "2.0"},
    ]
