"""Samples from question sets, tables and folders, and one item per video."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.engine.contract.items import is_safe_id
from tasks.frames.manifest import Sample, add_labels, limit_samples, plan_videos, read_samples

QUESTIONS = [
    {
        "id": 12,
        "question": "What is ahead?",
        "choices": ["A bus", "A bridge"],
        "answer": "A bus",
        "support_frames": [4.5, 1],
        "video_path": "city/a.mp4",
    },
    {"id": "q2", "question": "And now?", "choices": [], "answer": None, "support_frames": [], "video_path": "b.mp4"},
    {
        "id": "q3",
        "question": "Left?",
        "choices": ["yes"],
        "answer": "yes",
        "video_path": "city/a.mp4",
        "weather": "rain",
    },
]


@pytest.fixture
def videos(tmp_path):
    root = tmp_path / "videos"
    (root / "city").mkdir(parents=True)
    (root / "city" / "a.mp4").write_bytes(bytes(3 * 2**20))
    (root / "b.mp4").write_bytes(b"damaged; the run detects this")
    return root


def write_manifest(tmp_path, rows, name="train.json"):
    path = tmp_path / name
    path.write_text(json.dumps({"data": rows}))
    return path


def format_problems(problems):
    return "\n".join(map(str, problems))


def test_question_set_keeps_its_other_columns(tmp_path, videos):
    samples, problems = read_samples(write_manifest(tmp_path, QUESTIONS), videos)
    assert problems == []
    assert samples == [
        Sample(
            "12",
            "city/a.mp4",
            (4.5, 1.0),
            {"question": "What is ahead?", "choices": ["A bus", "A bridge"], "answer": "A bus"},
        ),
        Sample("q2", "b.mp4", (), {"question": "And now?", "choices": [], "answer": None}),
        Sample("q3", "city/a.mp4", (), {"question": "Left?", "choices": ["yes"], "answer": "yes", "weather": "rain"}),
    ]


def test_list_jsonl_and_parquet_give_the_same_samples(tmp_path, videos):
    expected, _ = read_samples(write_manifest(tmp_path, QUESTIONS[:2]), videos)
    rows = [{**row, "id": str(row["id"])} for row in QUESTIONS[:2]]
    (tmp_path / "list.json").write_text(json.dumps(rows))
    (tmp_path / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "table.parquet")
    for name in ("list.json", "lines.jsonl", "table.parquet"):
        assert read_samples(tmp_path / name, videos) == (expected, [])


@pytest.mark.parametrize(
    ("cell", "seconds"),
    [
        ("[1.5, 4]", (1.5, 4.0)),
        ("1.5;4", (1.5, 4.0)),
        ("1.5 4.0", (1.5, 4.0)),
        (" 2 ; 3 ", (2.0, 3.0)),
        ("7", (7.0,)),
        ("", ()),
    ],
)
def test_csv_support_frames_are_a_list_or_separated_numbers(tmp_path, videos, cell, seconds):
    with (tmp_path / "t.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([["id", "video_path", "support_frames"], ["1", "b.mp4", cell]])
    assert read_samples(tmp_path / "t.csv", videos) == ([Sample("1", "b.mp4", seconds)], [])


@pytest.mark.parametrize(
    "cell", ["1,5", "[1, [2]]", "one", "nan", "[NaN]", "1;inf", '["1"]', "[1", "[true]", "[" * 9999]
)
def test_malformed_csv_support_frames_are_a_problem(tmp_path, videos, cell):
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "video_path", "support_frames"], ["1", "b.mp4", cell]])
    _, problems = read_samples(tmp_path / "t.csv", videos)
    assert [problem.where for problem in problems] == ["t.csv line 2, support_frames"]


@pytest.mark.parametrize(
    "value", ["1.5", [["1.5"]], ["1.5"], [float("nan")], [float("inf")], [True], [None], 1.5, {}, [10**400]]
)
def test_invalid_support_frames_are_reported_with_row_and_field(tmp_path, videos, value):
    rows = [QUESTIONS[1], {**QUESTIONS[0], "support_frames": value}]
    _, problems = read_samples(write_manifest(tmp_path, rows), videos)
    assert [problem.where for problem in problems] == ["train.json row 2, support_frames"]


def test_out_of_range_times_are_accepted_from_the_manifest(tmp_path, videos):
    rows = [{**QUESTIONS[0], "support_frames": [-3, 1e9, 4, 4]}]
    samples, problems = read_samples(write_manifest(tmp_path, rows), videos)
    assert (samples[0].support_seconds, problems) == ((-3.0, 1e9, 4.0, 4.0), [])


def test_all_problems_of_a_manifest_are_listed(tmp_path, videos):
    rows = [
        QUESTIONS[0],
        QUESTIONS[0],
        {"id": "../x", "video_path": "../b.mp4"},
        {"id": "ok", "video_path": "/etc/passwd", "support_frames": "now"},
        {"id": "gone", "video_path": "gone.mp4", "frames": 3},
        {"video_path": "b.mp4"},
        {"id": "no_video"},
        "not a row",
    ]
    samples, problems = read_samples(write_manifest(tmp_path, rows), videos)
    assert [sample.id for sample in samples] == ["12"]
    assert [problem.where for problem in problems] == [
        "train.json row 8",
        "train.json row 6, id",
        "train.json row 7, video_path",
        "train.json",
        "train.json row 2, id",
        "train.json row 3, id",
        "train.json row 3, video_path",
        "train.json row 4, support_frames",
        "train.json row 4, video_path",
        "train.json row 5, video_path",
    ]
    assert "the column 'frames'" in format_problems(problems)


def test_ten_thousand_bad_rows_give_a_short_list_of_problems(tmp_path, videos):
    rows = [{"id": f"q{n}", "video_path": f"gone{n}.mp4"} for n in range(10_000)]
    samples, problems = read_samples(write_manifest(tmp_path, [*rows, {"id": "b", "video_path": "b.mp4"}]), videos)
    assert [sample.id for sample in samples] == ["b"]
    assert len(problems) == 21
    assert "and 9980 more like it" in format_problems(problems)


def test_missing_videos_folder_is_reported_once_with_the_row_problems(tmp_path):
    _, problems = read_samples(write_manifest(tmp_path, [*QUESTIONS, QUESTIONS[1]]), tmp_path / "none")
    assert [problem.where for problem in problems] == [f"--videos-dir {tmp_path / 'none'}", "train.json row 4, id"]


def test_missing_manifest_is_a_problem(tmp_path, videos):
    assert "cannot be read" in format_problems(read_samples(tmp_path / "none.json", videos)[1])


def test_folder_of_videos_needs_no_manifest(tmp_path):
    for name in (
        "clip10.mp4",
        "clip2.MP4",
        "b/clip1.webm",
        "b/clip1.mkv",
        "with space.mp4",
        "v1.2.mp4",
        "x.mp4",
        "x.mp4.mov",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    for name in (".hidden.mp4", ".cache/a.mp4", "notes.txt", "b/.DS_Store"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    samples, problems = read_samples(None, tmp_path)
    assert problems == []
    videos = [
        "b/clip1.mkv",
        "b/clip1.webm",
        "clip2.MP4",
        "clip10.mp4",
        "v1.2.mp4",
        "with space.mp4",
        "x.mp4",
        "x.mp4.mov",
    ]
    assert [sample.video for sample in samples] == videos
    assert {"clip2", "clip10", "v1.2", "x", "x.mp4.mov"} < {sample.id for sample in samples}
    assert len({sample.id for sample in samples}) == len(videos)
    assert all(is_safe_id(sample.id) for sample in samples)


def test_folder_without_videos_is_a_problem(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    assert "no videos" in format_problems(read_samples(None, tmp_path)[1])


def test_scan_rejects_symlink_that_points_outside(tmp_path, videos):
    (videos / "out.mp4").symlink_to(tmp_path / "secret.mp4")
    (tmp_path / "secret.mp4").write_bytes(b"x")
    samples, problems = read_samples(None, videos)
    assert [sample.video for sample in samples] == ["b.mp4", "city/a.mp4"]
    assert "is a symlink that points outside" in format_problems(problems)


def test_scan_rejects_only_unusable_files(tmp_path):
    for name in (b"\xff.mp4", b"line\nend.mp4", b"good.mp4"):
        with open(bytes(tmp_path) + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(b"x")
    (tmp_path / "broken.mp4").symlink_to("nothing.mp4")
    samples, problems = read_samples(None, tmp_path)
    assert problems == []
    items = {item.path: item for item in plan_videos(samples, tmp_path)}
    assert {path: item.refusal for path, item in items.items()} == {
        "broken.mp4": "broken.mp4: is a broken symlink; restore its target or remove it",
        "good.mp4": "",
        "line\\nend.mp4": "line\\nend.mp4: its name has control or hidden characters; rename it",
        "\\udcff.mp4": "\\udcff.mp4: its name is not UTF-8; rename it",
    }
    assert items["good.mp4"].inputs == (str(tmp_path / "good.mp4"),)
    assert all(item.inputs == () for item in items.values() if item.refusal)


def test_samples_of_one_video_become_one_item(tmp_path, videos):
    samples, _ = read_samples(write_manifest(tmp_path, QUESTIONS), videos)
    city, other = plan_videos(samples, videos)
    assert city.payload == {
        "video": "city/a.mp4",
        "samples": [{"id": "12", "support_seconds": [4.5, 1.0]}, {"id": "q3", "support_seconds": []}],
    }
    assert city.inputs == (str(videos.absolute() / "city" / "a.mp4"),)
    assert city.fields["question"] == "What is ahead?"
    assert city.fields["weather"] == "rain"
    assert city.cost == pytest.approx(3.0)
    assert (other.id, other.payload["video"]) == ("b.mp4", "b.mp4")
    assert is_safe_id(city.id)
    json.dumps(city.payload, allow_nan=False)


def test_similar_paths_get_distinct_item_ids(videos):
    items = plan_videos([Sample("1", "city/a.mp4"), Sample("2", "city-a.mp4"), Sample("3", "city a.mp4")], videos)
    assert len({item.id for item in items}) == 3


def test_any_id_is_kept_as_title_and_gets_a_safe_unique_id(tmp_path, videos):
    names = ["-5nEBVFY0nk", "_abC", "a b", "ab", "a/b", "SAME", "same", "中文", "safe-1", "x" * 300, "nul"]
    rows = [{"id": name, "video_path": "b.mp4"} for name in names]
    samples, problems = read_samples(write_manifest(tmp_path, rows), videos)
    assert problems == []
    assert [sample.title for sample in samples] == names
    assert all(is_safe_id(sample.id) for sample in samples)
    assert len({sample.id.lower() for sample in samples}) == len(names)
    assert {sample.id for sample in samples if sample.id == sample.title} == {"ab", "safe-1"}


def test_scan_keeps_names_and_paths_of_videos(tmp_path):
    for name in ("中文.mp4", "한국어/a.mkv", "c.mp4", "c.mkv", "C.avi"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    samples, problems = read_samples(None, tmp_path)
    assert problems == []
    assert {sample.title: sample.video for sample in samples} == {
        "中文": "中文.mp4",
        "한국어/a": "한국어/a.mkv",
        "c.mp4": "c.mp4",
        "c.mkv": "c.mkv",
        "C": "C.avi",
    }
    assert len({sample.id.lower() for sample in samples}) == 5
    items = plan_videos(samples, tmp_path)
    assert {(item.name, item.path) for item in items} >= {("中文.mp4", "中文.mp4"), ("a.mkv", "한국어/a.mkv")}


@pytest.mark.parametrize(("given", "named"), [(".", "videos"), ("videos/city", "videos"), ("other", "videos")])
def test_wrong_videos_folder_is_one_line_that_names_the_right_one(tmp_path, videos, given, named):
    (tmp_path / "other").mkdir()
    rows = [*QUESTIONS, {"id": "q4", "video_path": "b.mp4", "support_frames": "x"}]
    samples, problems = read_samples(write_manifest(tmp_path, rows), tmp_path / given)
    assert samples == []
    folder, right = (tmp_path / given).absolute(), (tmp_path / named).absolute()
    assert format_problems(problems[:1]) == (
        f"--videos-dir {folder}: has none of 2 files in 4 rows: 'city/a.mp4', 'b.mp4'; allowed: the folder that the"
        f" paths are relative to; they are in {right}: give --videos-dir {right}"
    )
    assert [problem.where for problem in problems[1:]] == ["train.json row 4, support_frames"]


def test_wrong_videos_folder_without_a_right_one_is_one_line(tmp_path, videos):
    rows = [{"id": number, "video_path": f"{number}.mp4"} for number in range(100)]
    samples, problems = read_samples(write_manifest(tmp_path, rows), videos)
    assert samples == []
    assert format_problems(problems) == (
        f"--videos-dir {videos}: has none of 100 files in 100 rows: '0.mp4', '1.mp4', '2.mp4', ...; allowed: the folder"
        " that the paths are relative to; check --videos-dir"
    )


def test_missing_videos_are_listed_if_others_exist(tmp_path, videos):
    rows = [{"id": name, "video_path": f"{name}.mp4"} for name in "abc"]
    _, problems = read_samples(write_manifest(tmp_path, rows), videos)
    assert [problem.given for problem in problems] == ["'a.mp4' is missing", "'c.mp4' is missing"]


@pytest.fixture
def original_layout(tmp_path):
    """Create train/train.json with paths such as train/videos/x.mp4, as the original question sets have them."""
    videos = tmp_path / "train" / "videos"
    videos.mkdir(parents=True)
    for number in range(21):
        (videos / f"{number}.mp4").write_bytes(b"x")
    rows = [{"id": number, "video_path": f"train/videos/{number}.mp4"} for number in range(21)]
    return write_manifest(tmp_path / "train", rows)


@pytest.mark.parametrize(("given", "repeated"), [("train/videos", "train/videos"), ("train", "train")])
def test_paths_that_repeat_the_folder_are_found_and_said_in_one_line(tmp_path, original_layout, given, repeated):
    notes = []
    samples, problems = read_samples(original_layout, tmp_path / given, notes)
    assert problems == []
    inside = "" if given == "train/videos" else "videos/"
    assert [sample.video for sample in samples] == [f"{inside}{number}.mp4" for number in range(21)]
    assert notes == [
        f"--videos-dir {tmp_path / given}: the manifest's paths repeat '{repeated}'; they are read below {tmp_path}"
    ]


def test_paths_are_not_changed_if_the_folder_has_another_name(tmp_path, original_layout):
    """Another folder may have other videos with the same names."""
    (tmp_path / "train").rename(tmp_path / "val")
    samples, problems = read_samples(tmp_path / "val" / "train.json", tmp_path / "val" / "videos")
    assert samples == []
    assert format_problems(problems).endswith(
        "it has them without 'train/videos': if they are the same files, remove that from the paths"
    )


def test_paths_are_not_changed_if_several_folders_fit(tmp_path):
    videos = tmp_path / "a" / "a"
    for folder in (videos, videos / "a"):
        folder.mkdir(parents=True)
        (folder / "x.mp4").write_bytes(b"x")
    notes = []
    manifest = write_manifest(tmp_path, [{"id": 1, "video_path": "a/a/x.mp4"}])
    (videos / "a" / "a").mkdir()
    _, problems = read_samples(manifest, videos, notes)
    assert notes == []
    assert len(problems) == 1


def test_folder_far_from_the_given_one_is_named(tmp_path, original_layout):
    (tmp_path / "elsewhere" / "deep").mkdir(parents=True)
    _, problems = read_samples(original_layout, tmp_path / "elsewhere" / "deep")
    assert format_problems(problems).endswith(f"they are in {tmp_path}: give --videos-dir {tmp_path}")


def test_labels_are_the_names_of_folders(tmp_path, videos):
    samples, _ = read_samples(None, videos)
    labeled, problems = add_labels(samples, "folder")
    assert [sample.fields for sample in labeled if sample.video == "city/a.mp4"] == [{"label": "city"}]
    assert format_problems(problems) == (
        "b.mp4: 'b.mp4' is in no folder that is a label; allowed: LABEL/VIDEO; move it to a folder, or remove --labels"
    )
    assert add_labels(samples, "none") == (samples, [])
    with_label = [Sample("1", "city/a.mp4", (), {"label": "x"})]
    assert "the manifest has a column 'label'" in format_problems(add_labels(with_label, "folder")[1])


def test_start_and_end_limit_samples(tmp_path, videos):
    rows = [
        {"id": 1, "video_path": "b.mp4", "start": 1, "end": 2.5},
        {"id": 2, "video_path": "b.mp4", "start": None},
    ]
    samples, problems = read_samples(write_manifest(tmp_path, rows), videos)
    assert problems == []
    assert [(sample.start, sample.end) for sample in samples] == [(1.0, 2.5), (None, None)]
    assert samples[0].fields == {"start": 1, "end": 2.5}
    limited, problems = limit_samples(samples, 0.5, None)
    assert [(sample.start, sample.end) for sample in limited] == [(1.0, 2.5), (0.5, None)]
    assert limited[1].fields["start"] == 0.5
    (item,) = plan_videos(limited, videos)
    assert item.payload["samples"] == [
        {"id": "1", "support_seconds": [], "start": 1.0, "end": 2.5},
        {"id": "2", "support_seconds": [], "start": 0.5},
    ]


def test_invalid_limits_are_problems(tmp_path, videos):
    (tmp_path / "t.csv").write_text(
        "id,video_path,start,end\n1,b.mp4,2,1\n2,b.mp4,morning,\n3,b.mp4,-1,\n4,b.mp4,,nan\n"
    )
    samples, problems = read_samples(tmp_path / "t.csv", videos)
    text = format_problems([*problems, *limit_samples(samples, None, None)[1]])
    for words in (
        "line 3, start: 'morning'",
        "line 4, start: '-1'",
        "line 5, end: 'nan'",
        "line 2, end: 1, with the start 2",
    ):
        assert words in text
    assert len(text.splitlines()) == 4
    assert "--end: 1, with --start 2" in format_problems(limit_samples([], 2.0, 1.0)[1])
