"""From tables and folders to the stars of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.engine.contract.errors import Problem
from tasks.engine.contract.items import is_safe_id
from tasks.transits.folder import ListedFile, make_star_key, name_stars, parse_catalogue_name
from tasks.transits.light_curve import Star
from tasks.transits.params import Source
from tasks.transits.targets import Target, make_star_items, read_targets

SPOC = "tess2018206045859-s0001-0000000025155310-0120-s_lc.fits"


def write_table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def make_folder(root: Path, *names: str) -> Path:
    """Return a folder of files with arbitrary content."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000)
    return root


def read_valid(table: Path | None, folder: Path | None = None, source: Source = "folder") -> list[Target]:
    targets, problems = read_targets(table, folder, source)
    assert problems == []
    return targets


def read_problems(table: Path | None, folder: Path | None = None, reserved: tuple[str, ...] = ()) -> list[str]:
    _, problems = read_targets(table, folder, "folder" if folder else "mast", reserved)
    assert all(isinstance(problem, Problem) for problem in problems)
    return [str(problem) for problem in problems]


# Names


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("TIC 25155310", "TIC 25155310"),
        ("tic25155310", "TIC 25155310"),
        ("TIC_0025155310", "TIC 25155310"),
        ("TIC-25155310", "TIC 25155310"),
        ("KIC 6850504", "KIC 6850504"),
        ("kplr006850504", "KIC 6850504"),
        ("ktwo206103150", "EPIC 206103150"),
        (" EPIC  206103150 ", "EPIC 206103150"),
        ("K2-3", None),
        ("pi Men", None),
        ("TOI-700", None),
        ("TIC", None),
        ("TIC 25155310 b", None),
    ],
)
def test_catalogue_names_are_parsed(given: str, name: str | None) -> None:
    assert parse_catalogue_name(given) == name


@pytest.mark.parametrize(
    ("row", "name", "mission", "target_id"),
    [
        ("TIC 25155310,", "TIC 25155310", "TESS", "TIC25155310"),
        ("25155310,TESS", "TIC 25155310", "TESS", "TIC25155310"),
        ("25155310.0,tess", "TIC 25155310", "TESS", "TIC25155310"),
        ("6850504,Kepler", "KIC 6850504", "Kepler", "KIC6850504"),
        ("kplr006850504,", "KIC 6850504", "Kepler", "KIC6850504"),
        ("206103150,k2", "EPIC 206103150", "K2", "EPIC206103150"),
        ("TIC 5,K2", "TIC 5", "K2", "TIC5"),
        ("K2-3,K2", "K2-3", "K2", "K2-3"),
        ("pi  Men,", "pi Men", "", "pi_Men"),
        ("π Men,TESS", "π Men", "TESS", None),
    ],
)
def test_star_is_read_from_a_row(tmp_path: Path, row: str, name: str, mission: str, target_id: str | None) -> None:
    (target,) = read_valid(write_table(tmp_path / "t.csv", "target_id,mission", row), source="mast")
    assert (target.name, target.mission) == (name, mission)
    assert is_safe_id(target.id)
    assert target.id == target_id or target_id is None


def test_all_columns_of_a_row_are_read(tmp_path: Path) -> None:
    header = "target_id,mission,label,sectors,stellar_radius,stellar_mass,stellar_temperature,stellar_log_gravity,note"
    row = "TIC 25155310,TESS,planet,1;3-5,1.27,1.12,5800,4.28,high"
    (target,) = read_valid(write_table(tmp_path / "t.csv", header, row), source="mast")
    assert target == Target(
        "TIC25155310",
        "TIC 25155310",
        "TESS",
        (1, 3, 4, 5),
        Star(1.27, 1.12, 5800.0, 4.28),
        "planet",
        {"note": "high"},
    )
    assert target.where == "t.csv line 2"


@pytest.mark.parametrize(
    ("column", "cell", "numbers"),
    [
        ("sector", "7", (7,)),
        ("sectors", "1;2", (1, 2)),
        ("sectors", '"1, 2"', (1, 2)),
        ("sectors", "3 1 3", (1, 3)),
        ("sectors", "1-3", (1, 2, 3)),
        ("sectors", "1 - 3; 9", (1, 2, 3, 9)),
        ("sectors", "[4]", (4,)),
        ("sectors", "", ()),
    ],
)
def test_segments_are_read_from_text(tmp_path: Path, column: str, cell: str, numbers: tuple[int, ...]) -> None:
    (target,) = read_valid(write_table(tmp_path / "t.csv", f"target_id,{column}", f"TIC 1,{cell}"), source="mast")
    assert target.segments == numbers


@pytest.mark.parametrize("cell", ["x", "3-1", "-1", "1.5", "1000", "1;;x", "1-"])
def test_invalid_segments_are_problems(tmp_path: Path, cell: str) -> None:
    (problem,) = read_problems(write_table(tmp_path / "t.csv", "target_id,sector", f"TIC 1,{cell}"))
    assert problem.startswith(f"t.csv line 2, sector: '{cell}'; allowed: numbers from 0 to 999, such as 1, 1;2 or 1-3")


def test_column_of_segments_implies_the_mission(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "target_id,quarter,campaign", "TrES-2,5,", "K2-3,,1")
    assert [(target.mission, target.segments) for target in read_valid(table, source="mast")] == [
        ("Kepler", (5,)),
        ("K2", (1,)),
    ]


def test_parquet_with_numbers_and_nulls_is_read(tmp_path: Path) -> None:
    rows = {
        "target_id": [25155310.0, 6850504.0],
        "mission": ["TESS", "Kepler"],
        "sectors": [[1, 2], None],
        "radius": [1.27, float("nan")],
        "label": [1, None],
        "note": [None, 2.5],
    }
    pq.write_table(pa.table(rows), tmp_path / "t.parquet")
    first, second = read_valid(tmp_path / "t.parquet", source="mast")
    assert (first.name, first.segments, first.star.radius, first.label) == ("TIC 25155310", (1, 2), 1.27, "1")
    assert (second.name, second.segments, second.star, second.label) == ("KIC 6850504", (), Star(), None)
    assert (first.fields, second.fields) == ({"note": None}, {"note": 2.5})


# Problems of a table


@pytest.mark.parametrize(
    ("header", "row", "told"),
    [
        ("name", "TIC 1", "no column 'target_id'; allowed: the columns target_id; its columns are name"),
        ("target_id,label", ",x", "line 2, target_id: nothing; allowed: a value in every row"),
        ("target_id", "77", "the bare number '77'; allowed: a number with a mission (TESS, Kepler, K2), or TIC"),
        ("target_id,mission", "TIC 1,Gaia", "line 2, mission: 'Gaia'; allowed: TESS, Kepler, K2, or empty"),
        ("target_id,radius", "TIC 1,-3", "line 2, radius: '-3'; allowed: solar radii, from 0.005 to 2000, or empty"),
        ("target_id,mass", "TIC 1,heavy", "line 2, mass: 'heavy'; allowed: solar masses, from 0.01 to 500"),
        ("target_id,mass", "TIC 1,inf", "line 2, mass: 'inf'; allowed: solar masses"),
        (
            "target_id,mass,stellar_mass",
            "TIC 1,1,1",
            "line 2, stellar_mass: given together with 'mass'; allowed: one",
        ),
        ("target_id,sector", "KIC 1,3", "line 2, sector: given for a target of Kepler; allowed: the column 'quarter'"),
        ("target_id,sector,quarter", "x,3,3", "line 2, quarter: given together with 'sector'; allowed: one of the two"),
        ("target_id,period", "TIC 1,long", "line 2, period: 'long'; allowed: days, from 0.01 to 100000, or empty"),
        ("tid,kepid", "1,2", "the columns tid, kepid name the star; allowed: one of them; name it with --id-column"),
        (
            "target_id,period,koi_period",
            "TIC 1,3,3",
            "the columns period, koi_period hold the period of a candidate; allowed: one of them",
        ),
        (
            "target_id,period,duration",
            "TIC 1,3,2",
            "the column 'duration' without a unit; allowed: duration_hours or duration_days; rename it",
        ),
        (
            "target_id,period,depth",
            "TIC 1,3,2",
            "the column 'depth' without a unit; allowed: depth_ppm, depth_percent or depth_fraction; rename it",
        ),
        ("target_id,period,pl_trandep", "TIC 1,3,2", "the column 'pl_trandep' without a unit"),
        (
            "target_id,period,epoch",
            "TIC 1,3,1325.5",
            "line 2, epoch: '1325.5'; allowed: a full Julian date such as 2458325.5, or empty; for BTJD or BKJD,",
        ),
        ("target_id,period,pl_tranmid", "TIC 1,3,1325.5", "line 2, pl_tranmid: '1325.5'; allowed: a full Julian date"),
        ("target_id,period,epoch_btjd", "TIC 1,3,2458325.5", "epoch_btjd: '2458325.5'; allowed: days since 2457000"),
        (
            "target_id,period,duration_days",
            "TIC 1,3,3.5",
            "line 2, duration_days: 3.5 days in transit with a period of 3 days; allowed: less than the period",
        ),
        ("target_id", "x" * 101, "line 2, target_id: '"),
        ("target_id", "a\x1b[2Jb", "line 2, target_id: "),
    ],
)
def test_problems_of_a_row_are_reported(tmp_path: Path, header: str, row: str, told: str) -> None:
    (problem,) = read_problems(write_table(tmp_path / "t.csv", header, row))
    assert told in problem
    assert "\x1b" not in problem


def test_two_spellings_of_a_star_are_duplicates(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", "target_id,mission", "TIC 25155310,", "pi Men,", "25155310,TESS", "Pi_men,")
    rest = "allowed: each target once; put its sectors into one row, or remove one of the two"
    assert read_problems(table) == [
        f"t.csv line 4, target_id: 'TIC 25155310' again, as in t.csv line 2; {rest}",
        f"t.csv line 5, target_id: 'Pi_men' again, as in t.csv line 3; {rest}",
    ]


def test_all_problems_are_reported_and_similar_ones_are_grouped(tmp_path: Path) -> None:
    rows = [f"{number}," for number in range(1, 200)]
    problems = read_problems(write_table(tmp_path / "t.csv", "target_id,radius", *rows, "TIC 1,x"), tmp_path / "none")
    assert len(problems) == 1 + 20 + 1 + 1
    assert "does not exist" in problems[0]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("folder", "--light-curves: nothing; allowed: a folder of FITS or CSV files"),
        ("mast", "--targets: nothing; allowed: a table with the column target_id"),
    ],
)
def test_missing_options_are_problems(source: Source, told: str) -> None:
    targets, problems = read_targets(None, None, source)
    assert targets == []
    assert [told in str(problem) for problem in problems] == [True]


# Folders


def test_stars_are_identified_by_archive_names(tmp_path: Path) -> None:
    folder = make_folder(
        tmp_path,
        SPOC,
        "tess2020186164531-s0027-0000000025155310-0189-a_fast-lc.fits",
        "hlsp_qlp_tess_ffi_s0001-0000000025155310_tess_v01_llc.fits",
        "hlsp_tess-spoc_tess_phot_0000000025155310-s0002_tess_v1_lc.fits",
        "kplr006850504/kplr006850504-2009166043257_llc.fits",
        "kplr006850504/kplr006850504-2009259160929_slc.fits",
        "ktwo206103150-c03_llc.fits",
        "ktwo206103150-c102_llc.fits",
        "EPIC201367065.csv",
    )
    found = {target.name: target for target in read_valid(None, folder)}
    assert {name: len(target.files) for name, target in found.items()} == {
        "EPIC 201367065": 1,
        "TIC 25155310": 4,
        "KIC 6850504": 2,
        "EPIC 206103150": 2,
    }
    assert {name: target.mission for name, target in found.items()} == {
        "EPIC 201367065": "K2",
        "TIC 25155310": "TESS",
        "KIC 6850504": "Kepler",
        "EPIC 206103150": "K2",
    }
    assert all(Path(file).is_absolute() and Path(file).is_file() for target in found.values() for file in target.files)


def test_other_archive_products_are_skipped(tmp_path: Path) -> None:
    folder = make_folder(
        tmp_path,
        SPOC,
        SPOC.replace("_lc", "_tp"),
        "kplr006850504-2009166043257_lpd-targ.fits",
        "tess2018206190142-s0001-s0001-0000000025155310-00106_dvt.fits",
        ".hidden.fits",
        ".cache/kplr006850504-2009166043257_llc.fits",
        "notes.txt",
    )
    assert [Path(file).name for target in read_valid(None, folder) for file in target.files] == [SPOC]


@pytest.mark.parametrize(
    ("path", "star", "part"),
    [
        ("pi_Men.csv", "pi_Men", None),
        ("pi_Men_s01.csv", "pi_Men_s01", 1),
        ("pi_Men_sector_1.csv", "pi_Men", 1),
        ("pi_Men/sector01.csv", "pi_Men", 1),
        ("TIC 25155310_sector_3.csv", "TIC 25155310", 3),
        ("pi_Men/s01.csv", "pi_Men/s01", 1),
        ("pi_Men/2.csv", "pi_Men/2", None),
        ("TIC 12b.csv", "TIC 12b", None),
        ("TIC 12 s0003.csv", "TIC 12", 3),
        ("KIC 6850504/first.csv", "KIC 6850504", None),
        ("batch/star7x.csv", "star7x", None),
        ("12.csv", "12", None),
    ],
)
def test_user_named_files_are_identified(tmp_path: Path, path: str, star: str, part: int | None) -> None:
    assert name_stars([path]) == [ListedFile(path, star, part)]


def test_table_selects_the_files_of_its_stars(tmp_path: Path) -> None:
    folder = make_folder(
        tmp_path / "curves",
        SPOC,
        SPOC.replace("s0001", "s0002"),
        "ktwo206103150-c03_llc.fits",
        "Pi-Men.csv",
        "own/x.csv",
        "own/y.csv",
        "other.fits",
    )
    table = write_table(
        tmp_path / "t.csv",
        "target_id,sectors,path",
        "pi Men,,",
        "TIC 25155310,2,",
        "HD 1,,own",
        "HD 2,,other.fits",
        "KIC 9,,",
    )
    targets = read_valid(table, folder)
    names = {target.name: [Path(file).name for file in target.files] for target in targets}
    assert names == {
        "pi Men": ["Pi-Men.csv"],
        "TIC 25155310": [SPOC.replace("s0001", "s0002")],
        "HD 1": ["x.csv", "y.csv"],
        "HD 2": ["other.fits"],
        "KIC 9": [],  # its item fails, not the run
    }


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("../x.csv", "'..' in '../x.csv'; allowed: a path that stays in its folder"),
        ("/etc/passwd", "the absolute path '/etc/passwd'; allowed: a relative path"),
        ("none.csv", "'none.csv' is missing; allowed: a file in"),
        ("link.csv", "'link.csv' is a symlink that points outside; allowed: files inside"),
        ("empty", "'empty' is not a file"),
    ],
)
def test_paths_outside_the_folder_are_rejected(tmp_path: Path, path: str, told: str) -> None:
    folder = make_folder(tmp_path / "curves", SPOC)
    outside = make_folder(tmp_path / "outside", "x.csv") / "x.csv"
    if path == "link.csv":
        (folder / path).symlink_to(outside)
    (folder / "empty").mkdir()
    problems = read_problems(write_table(tmp_path / "t.csv", "target_id,path", f"TIC 1,{path}"), folder)
    assert any(told in problem for problem in problems)


def test_symlinks_out_of_the_folder_are_rejected_without_a_table(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "curves", SPOC)
    (folder / "star.fits").symlink_to(make_folder(tmp_path / "outside", "x.fits") / "x.fits")
    targets, problems = read_targets(None, folder, "folder")
    assert targets == []
    assert "'star.fits' is a symlink that points outside" in str(problems[0])


def test_cyclic_symlinks_terminate(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "a/" + SPOC)
    (folder / "a" / "back").symlink_to(folder)
    assert len(read_valid(None, folder)[0].files) == 1


def test_empty_folder_is_a_problem(tmp_path: Path) -> None:
    told = "no light curves; allowed: files ending in .csv, .csv.gz, .fit, "
    assert [told in problem for problem in read_problems(None, tmp_path)] == [True]
    (tmp_path / "a file").write_text("x")
    assert "is not a folder" in read_problems(None, tmp_path / "a file")[0]


@pytest.mark.parametrize(
    "names",
    [
        ["star_1_2.csv", "star_12.csv"],
        ["field-1-11.csv", "field-11-1.csv"],
        ["SAME.csv", "same.csv"],
        ["a b.csv", "ab.csv", "a_b.csv", "a-b.csv", "a+b.csv"],
        ["a/star.csv", "b/star.csv", "star.csv", "star.fits"],
        ["stars/1.csv", "stars/2.csv", "stars/01.csv"],
        ["cluster_s1.csv", "cluster_s2.csv", "cluster.csv"],
        ["all/s1.csv", "all/s2.csv", "all/q1.csv"],
        ["a/x_sector_1.csv", "b/x_sector_1.csv"],
        ["TIC 12.csv", "TIC 12b.csv", "TIC1 2.csv", "KIC 12.csv"],
        ["π.csv", "ρ.csv", "中文.csv", "한국어.csv"],
        ["Gu\u0308rtel.csv", "G\u00fcrtel.csv"],
    ],
)
def test_stars_with_similar_names_stay_separate(tmp_path: Path, names: list[str]) -> None:
    targets = read_valid(None, make_folder(tmp_path, *names))
    assert sorted(target.paths for target in targets) == sorted((name,) for name in names)
    assert len({target.name for target in targets}) == len(names)
    assert len({target.id.lower() for target in targets}) == len(names)
    assert all(is_safe_id(target.id) for target in targets)
    assert {(item.name, item.path) for item in make_star_items(targets)} == {(t.name, t.paths[0]) for t in targets}


def test_files_of_one_star_are_grouped(tmp_path: Path) -> None:
    names = ["TIC 7/a.csv", "TIC_0007_s01.csv", "tic7 sector 2.csv", "pi Men_sector_1.csv", "pi Men_sector_2.csv"]
    targets = read_valid(None, make_folder(tmp_path, *names))
    assert {target.name: len(target.paths) for target in targets} == {"TIC 7": 3, "pi Men": 2}


def test_table_finds_files_with_similar_names(tmp_path: Path) -> None:
    names = ["PI-MEN.csv", "x_s1.csv", "x_s2.csv", "SAME.csv", "same.csv", "star_1_2.csv"]
    folder = make_folder(tmp_path / "curves", *names)
    table = write_table(tmp_path / "t.csv", "target_id", "pi Men", "X", "same", "SAME", "star_12")
    assert {target.name: target.paths for target in read_valid(table, folder)} == {
        "pi Men": ("PI-MEN.csv",),
        "X": ("x_s1.csv", "x_s2.csv"),
        "same": ("same.csv",),
        "SAME": ("SAME.csv",),
        "star_12": (),  # its item fails, not the run
    }
    assert make_star_key("Pi Men") == make_star_key("pi_men") != make_star_key("pi+Men")
    assert make_star_key("star_1_2") != make_star_key("star_12")


@pytest.mark.parametrize("files", [("a/x.csv", "b/x.csv"), ("x y.csv", "X_Y.csv"), ("a/x_s1.csv", "b/x_s2.csv")])
def test_ambiguous_target_is_rejected(tmp_path: Path, files: tuple[str, ...]) -> None:
    folder = make_folder(tmp_path / "curves", *files)
    given = "x-y" if "x y.csv" in files else "x"
    (problem,) = read_problems(write_table(tmp_path / "t.csv", "target_id", given), folder)
    told = "; allowed: files of one star; name its file or folder in the column 'path'"
    assert f"target_id: '{given}' may be any of " in problem
    assert problem.endswith(told)
    table = write_table(tmp_path / "t.csv", "target_id,path", f"{given},{files[0]}")
    assert read_valid(table, folder)[0].paths == (files[0],)


def test_targets_of_real_files_are_identified(stars: Path) -> None:
    found = {target.name: len(target.files) for target in read_valid(None, stars)}
    assert found["KIC 6850504"] == 17
    assert found["EPIC 201367065"] == found["TIC 25155310"] == found["EPIC 206103150"] == 1


# Items


def test_items_contain_the_inputs_of_the_result(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "curves", SPOC)
    table = write_table(tmp_path / "t.csv", "target_id,label,sector,radius,note", "TIC 25155310,planet,1,1.27,x")
    (item,) = make_star_items(read_valid(table, folder))
    assert item.id == "TIC25155310"
    assert item.payload == {
        "id": "TIC25155310",
        "name": "TIC 25155310",
        "mission": "TESS",
        "segments": [1],
        "star": {"radius": 1.27, "mass": None, "temperature_kelvin": None, "log_gravity": None},
    }
    assert item.inputs == (str(folder / SPOC),)
    assert item.fields == {"note": "x"}


def test_longer_and_denser_light_curves_cost_more(stars: Path, tmp_path: Path) -> None:
    cost = {item.id: item.cost for item in make_star_items(read_valid(None, stars))}
    assert cost["KIC6850504"] > 50 * cost["TIC25155310"] > 50 * cost["EPIC206103150"] / 10
    (missing,) = make_star_items([Target("a", "a", files=(str(tmp_path / "none.fits"),))])
    assert missing.cost > 0


def test_thousands_of_files_are_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, *(SPOC.replace("25155310", f"{number:08d}") for number in range(2000)))
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    assert len(read_valid(None, tmp_path)) == 2000
    assert len(listed) == 1


def test_compressed_files_are_identified_by_name(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, f"{SPOC}.gz", "pi_Men_sector_1.csv.gz", "TIC 7.fits.gz", "own/1.csv.gz")
    found = {target.name: target.paths for target in read_valid(None, folder)}
    assert found == {
        "TIC 25155310": (f"{SPOC}.gz",),
        "pi_Men": ("pi_Men_sector_1.csv.gz",),
        "TIC 7": ("TIC 7.fits.gz",),
        "own/1": ("own/1.csv.gz",),
    }


def test_other_files_are_counted(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, SPOC, SPOC.replace("_lc", "_tp"), "notes.md", "a.jpg", ".hidden")
    (folder / "readme.txt").write_text("These are light curves of 2 stars\n")
    (folder / "curve.txt").write_text("1325.0 1.0\n1325.1 1.0\n")
    notes: list[str] = []
    targets, problems = read_targets(None, folder, "folder", (), notes)
    assert problems == []
    assert sorted(target.name for target in targets) == ["TIC 25155310", "curve"]
    assert all(kind in notes[0] for kind in ("3 files not read", "1 .md", "1 .jpg", "1 .txt", "1 hidden name"))
    assert notes[1] == f"--light-curves {folder}: skipped other products of the archives (1), not light curves"


def test_only_stars_with_rejected_files_fail(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, "good.csv", "two\nlines.csv", os.fsdecode(b"\xff.csv"), SPOC)
    (folder / SPOC.replace("s0001", "s0002")).symlink_to("gone.fits")
    targets, problems = read_targets(None, folder, "folder")
    assert problems == []
    items = {item.name: item for item in make_star_items(targets)}
    assert {name: item.refusal.partition(": ")[2].partition(";")[0] for name, item in items.items()} == {
        "good": "",
        "two\\nlines": "its name has control or hidden characters",
        "\\udcff": "its name is not UTF-8",
        "TIC 25155310": "is a broken symlink",
    }
    assert all(bool(item.inputs) is not bool(item.refusal) for item in items.values())
    for item in items.values():
        f"{item.id}{item.name}{item.path}{item.refusal}".encode()
