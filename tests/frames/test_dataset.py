"""Each format read back by the library that its users read it with, from pictures that are really there.

`made` publishes every part of a dataset as the engine would; `load` is `datasets.load_dataset`, offline, with its
caches in a temporary folder.
"""

import gc
import hashlib
import io
import json
import os
import tarfile
import warnings
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import distinct_ids, is_safe_id
from tasks.engine.contract.stage import Workspace
from tasks.frames.dataset import (
    DatasetParams,
    DatasetStage,
    dataset_items,
    dataset_problems,
    frames_by_sample,
    sample_id_of,
    webdataset_key,
)
from tasks.frames.manifest import Sample

FORMATS = ("jsonl", "parquet", "webdataset", "imagefolder")
# Ids that formats stumble over: dots (WebDataset's keys end there), and names of splits (datasets would find one more).
IDS = ("q.1", "q_1", "test_1", "12", "my-train", "v1.2.tar.gz", "q7")
FAILED = "failed"
OF_STAGE = ("frames", "bad_frames", "outside_seconds", "repeated_seconds", "dropped_seconds")


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """`datasets` and `webdataset`, imported once with no network and no home."""
    home = str(tmp_path_factory.mktemp("hugging_face"))
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=home, HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    import datasets
    import webdataset

    datasets.disable_progress_bars()
    return datasets, webdataset


@pytest.fixture
def load(libraries, tmp_path):
    def load(*args, **kwargs):
        found = libraries[0].load_dataset(*args, cache_dir=str(tmp_path / "cache"), **kwargs)
        return {split: list(_undecoded(libraries[0], rows)) for split, rows in found.items()}

    return load


def _undecoded(datasets, rows):
    """Rows with the files' own bytes in place of decoded pictures."""
    plain = datasets.Image(decode=False)
    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, plain)
        elif getattr(feature, "feature", None) == datasets.Image():
            rows = rows.cast_column(name, datasets.List(plain))
    return rows


def picture(output_dir, sample_id, number):
    """A real JPEG, published, with its provenance."""
    noise = np.random.default_rng([number, *sample_id.encode()]).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    content = cv2.imencode(".jpg", noise)[1].tobytes()
    path = f"frames/{sample_id}/{number:04d}.jpg"
    (output_dir / path).parent.mkdir(parents=True, exist_ok=True)
    (output_dir / path).write_bytes(content)
    return {
        "path": path,
        "source": "support" if number == 0 else "uniform",
        "requested_seconds": 1.0 * number,
        "actual_seconds": number + 0.01,
        "pts": 90_900 * number,
        "time_base": str(Fraction(1, 90_000)),
        "frame_index": 25 * number,
        "keyframe_distance_frames": number,
        "width_px": 32,
        "height_px": 24,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


@pytest.fixture
def question_set(tmp_path):
    """Seven samples of two splits, with 1 to 3 frames, and one whose video failed. Some columns are empty in val."""
    output_dir = tmp_path / "out"
    samples, details, split_of = [], [], {}
    for n, sample_id in enumerate(IDS):
        fields = {
            "question": f"Wohin? {n} \u2028\U0001f6a6",
            "choices": ["a", "b"][: n % 3],
            "meta": {"n": n, "w": [n / 2]},
        }
        fields["answer"] = None if n >= 4 else n
        fields["day"] = "2024-05-06" if n != 1 else "unknown"
        samples.append(Sample(sample_id, f"v{n // 2}.mp4", (0.0,), fields))
        frames = [picture(output_dir, sample_id, number) for number in range(1 + n % 3)]
        outside = [99.5] if n == 0 else []
        details.append(
            {
                "id": sample_id,
                "video": "v",
                "frames": frames,
                "bad_frames": [],
                "outside_seconds": outside,
                "repeated_seconds": [],
                "dropped_seconds": [],
            }
        )
        split_of[sample_id] = "train" if n < 4 else "val"
    samples.insert(2, Sample(FAILED, "damaged.mp4"))
    split_of[FAILED] = "val"
    found = frames_by_sample([{"samples": details[:3]}, {"samples": details[3:]}])
    return samples, found, split_of


def publish(items, params, output_dir):
    for item in items:
        DatasetStage(params).run(item, Workspace(output_dir, output_dir / "scratch", output_dir))


@pytest.fixture
def made(question_set, tmp_path):
    def made(**params):
        chosen = DatasetParams(**params)
        publish(dataset_items(question_set[0], question_set[1], chosen, question_set[2]), chosen, tmp_path / "out")
        return tmp_path / "out" / "dataset"

    return made


def expected_rows(question_set):
    samples, found, split_of = question_set
    names = ("question", "choices", "meta", "answer", "day")
    rows = {"train": [], "val": []}
    for sample in samples:
        if sample.id in found:
            own = {"id": sample.id, "video": sample.video, "split": split_of[sample.id], "support_seconds": [0.0]}
            of_stage = {name: found[sample.id][name] for name in OF_STAGE}
            rows[split_of[sample.id]].append({**own, **of_stage, **{name: sample.fields[name] for name in names}})
    return rows


def pictures_of(row, output_dir):
    return [(output_dir / frame["path"]).read_bytes() for frame in row["frames"]]


def test_jsonl_has_a_row_a_sample_in_the_manifests_order(made, question_set):
    folder = made(format="jsonl")
    rows = expected_rows(question_set)
    for split in rows:
        lines = (folder / f"{split}.jsonl").read_text().split("\n")
        assert [json.loads(line) for line in lines[:-1]] == rows[split]
        assert lines[-1] == ""


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_tables_are_loaded_by_datasets_with_types_that_are_empty_in_one_split(made, load, question_set, form):
    found, expected = load(str(made(format=form))), expected_rows(question_set)
    if form == "jsonl":  # where every text of a column looks like a date, datasets makes times of them
        for row in (*found["val"], *expected["val"]):
            assert row.pop("day").startswith("2024-05-06")
    assert found == expected


def test_parquet_is_read_by_pyarrow_with_one_schema_for_all_splits(made, question_set):
    folder = made(format="parquet")
    tables = {split: pq.read_table(folder / f"{split}.parquet") for split in ("train", "val")}
    assert {split: table.to_pylist() for split, table in tables.items()} == expected_rows(question_set)
    assert tables["train"].schema == tables["val"].schema
    schema = tables["train"].schema
    assert schema.field("outside_seconds").type == pa.list_(pa.float64())
    assert schema.field("answer").type == pa.int64()
    assert schema.field("frames").type.value_type.field("pts").type == pa.int64()


def read_tars(webdataset, url, *decode):
    """All samples; WebDataset leaves its files for the garbage collector to close."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        samples = webdataset.WebDataset(url, shardshuffle=False)
        found = list(samples.decode(*decode) if decode else samples)
        del samples
        gc.collect()
    return found


def test_webdataset_reads_its_tars_with_the_pictures_bytes(made, libraries, question_set, tmp_path):
    folder = made(format="webdataset", samples_per_tar=3)
    assert sorted(path.name for path in folder.glob("*.tar")) == [
        "train-000000.tar",
        "train-000001.tar",
        "val-000000.tar",
    ]
    for split, brace in (("train", "{000000..000001}"), ("val", "000000")):
        found = read_tars(libraries[1], f"{folder}/{split}-{brace}.tar")
        rows = [json.loads(sample["json"]) for sample in found]
        assert rows == expected_rows(question_set)[split]
        assert [sample_id_of(sample["__key__"]) for sample in found] == [row["id"] for row in rows]
        for sample, row in zip(found, rows, strict=True):
            inside = [sample[name] for name in sorted(sample) if name.endswith(".jpg")]
            assert inside == pictures_of(row, tmp_path / "out")


def test_webdataset_decodes_pictures_by_their_names(made, libraries):
    folder = made(format="webdataset")
    first = read_tars(libraries[1], f"{folder}/train-000000.tar", "rgb8")[0]
    assert first["0000.jpg"].shape == (24, 32, 3)
    assert first["json"]["id"] == IDS[0]


def test_webdataset_is_loaded_by_datasets_though_samples_differ_in_frames(made, load, question_set):
    found = load(str(made(format="webdataset")))
    assert {split: [row["json"] for row in rows] for split, rows in found.items()} == expected_rows(question_set)
    assert [sum(row[f"{n:04d}.jpg"] is not None for n in range(3)) for row in found["train"]] == [1, 2, 3, 1]


@pytest.mark.parametrize("how", ["card", "imagefolder"])
def test_imagefolder_is_loaded_by_datasets_with_all_pictures_of_a_sample(made, load, question_set, tmp_path, how):
    folder = made(format="imagefolder", samples_per_tar=3)
    found = load(str(folder)) if how == "card" else load("imagefolder", data_dir=str(folder))
    expected = expected_rows(question_set)
    if how == "imagefolder":  # it knows a folder "val" by the name "validation"
        found["val"] = found.pop("validation")
    assert {split: [row["id"] for row in rows] for split, rows in found.items()} == {
        split: [row["id"] for row in rows] for split, rows in expected.items()
    }
    for split, rows in found.items():
        for row, wanted in zip(rows, expected[split], strict=True):
            content = [Path(image["path"]).read_bytes() for image in row.pop("images")]
            assert content == pictures_of(wanted, tmp_path / "out")
            assert row == wanted


def test_imagefolder_metadata_is_jsonl_where_that_can_say_the_types(question_set, load, tmp_path):
    samples, found, _ = question_set
    samples = [Sample(s.id, s.video, s.support_seconds, {"question": s.fields.get("question")}) for s in samples]
    params = DatasetParams(format="imagefolder")
    items = dataset_items(samples, found, params, dict.fromkeys([*IDS, FAILED], "train"))
    publish(items, params, tmp_path / "out")
    folder = tmp_path / "out" / "dataset"
    assert sorted(path.name for path in (folder / "train").iterdir()) == ["images", "metadata.jsonl"]
    lines = (folder / "train" / "metadata.jsonl").read_text().rstrip("\n").split("\n")
    assert [json.loads(line)["id"] for line in lines] == list(IDS)
    assert load("imagefolder", data_dir=str(folder))["train"] == load(str(folder))["train"]
    assert [len(row["images"]) for row in load(str(folder))["train"]] == [1, 2, 3, 1, 2, 3, 1]


def test_imagefolder_metadata_is_parquet_where_jsonl_would_not_load(made):
    folder = made(format="imagefolder")
    assert (folder / "val" / "metadata.parquet").is_file()
    assert not list(folder.rglob("metadata.jsonl"))


def test_imagefolder_leaves_out_a_sample_without_frames(question_set, load, tmp_path):
    samples, found, split_of = question_set
    found["q7"] = {**found["q7"], "frames": []}
    params = DatasetParams(format="imagefolder")
    publish(dataset_items(samples, found, params, split_of), params, tmp_path / "out")
    rows = load(str(tmp_path / "out" / "dataset"))
    assert [row["id"] for row in rows["val"]] == ["my-train", "v1.2.tar.gz"]


def test_imagefolder_pictures_take_no_room_of_their_own(made, tmp_path):
    folder = made(format="imagefolder")
    assert (folder / "train" / "images" / "q_1" / "0000.jpg").samefile(tmp_path / "out" / "frames" / "q_1" / "0000.jpg")


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_rows_give_the_same_bytes_at_any_time_in_any_order(question_set, tmp_path, form):
    samples, found, split_of = question_set
    params = DatasetParams(format=form, samples_per_tar=2)
    digests = []
    for again in (False, True):
        frames = dict(reversed(found.items())) if again else found
        items = dataset_items(samples, frames, params, dict(reversed(split_of.items())))
        into = tmp_path / f"into{again}"
        for item in reversed(items) if again else items:
            DatasetStage(params).run(item, Workspace(into, into / "scratch", tmp_path / "out"))
        files = sorted(path for path in into.rglob("*") if path.is_file())
        digests.append({str(path.relative_to(into)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    assert digests[0] == digests[1]
    assert len(digests[0]) >= 3


def test_tar_headers_say_nothing_of_when_and_by_whom(made):
    with tarfile.open(made(format="webdataset") / "train-000000.tar") as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert [member.name for member in members][:3] == ["q%2E1.json", "q%2E1.0000.jpg", "q_1.json"]


@pytest.mark.parametrize("form", FORMATS)
def test_parts_are_items_that_the_engine_can_key(question_set, form):
    samples, found, split_of = question_set
    items = dataset_items(samples, found, DatasetParams(format=form, samples_per_tar=2), split_of)
    assert all(is_safe_id(item.id) for item in items)
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert json.loads(json.dumps(item.payload, allow_nan=False)) == item.payload


def test_a_changed_answer_changes_metadata_and_no_pictures(question_set):
    samples, found, split_of = question_set
    params = DatasetParams(format="imagefolder")
    before = {item.id: item for item in dataset_items(samples, found, params, split_of)}
    samples[0] = Sample(samples[0].id, samples[0].video, samples[0].support_seconds, {**samples[0].fields, "answer": 7})
    after = {item.id: item for item in dataset_items(samples, found, params, split_of)}
    assert [name for name in before if before[name] != after[name]] == ["train-metadata.parquet"]


def test_a_changed_picture_changes_the_parts_that_hold_it(question_set):
    samples, found, split_of = question_set
    params = DatasetParams(format="webdataset", samples_per_tar=2)
    before = {item.id: item for item in dataset_items(samples, found, params, split_of)}
    found["q.1"] = {**found["q.1"], "frames": [{**found["q.1"]["frames"][0], "sha256": "0" * 64}]}
    after = {item.id: item for item in dataset_items(samples, found, params, split_of)}
    assert [name for name in before if before[name] != after[name]] == ["train-000000.tar"]


@pytest.mark.parametrize("form", ["webdataset", "imagefolder"])
def test_a_picture_that_was_altered_or_is_gone_fails_the_part_by_name(question_set, tmp_path, form):
    samples, found, split_of = question_set
    params = DatasetParams(format=form)
    items = dataset_items(samples, found, params, split_of)
    victim = tmp_path / "out" / "frames" / "q_1" / "0000.jpg"
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match=r"frames/q_1/0000\.jpg was altered"):
        publish(items, params, tmp_path / "out")
    victim.unlink()
    with pytest.raises(BadInput, match=r"frames/q_1/0000\.jpg is gone"):
        publish(items, params, tmp_path / "out")


def test_a_dataset_without_any_finished_sample_has_no_parts(question_set):
    assert dataset_items(question_set[0], {}, DatasetParams(), question_set[2]) == []


def test_a_samples_frames_that_are_none_is_still_a_row(question_set, made, load):
    question_set[1]["q7"] = {**question_set[1]["q7"], "frames": []}
    for form in ("jsonl", "parquet"):
        assert load(str(made(format=form)))["val"][-1]["frames"] == []


@pytest.mark.parametrize("sample_id", [*IDS, "a..b", "a.json", "A-Z_0"])
def test_a_webdataset_key_has_no_dot_and_gives_back_the_id(sample_id):
    assert "." not in webdataset_key(sample_id)
    assert sample_id_of(webdataset_key(sample_id)) == sample_id


def columns(*values):
    return [Sample(str(n), "v.mp4", (), {"x": value}, f"row {n}") for n, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((1, "a"), "row 2, x: text where others hold a whole number"),
        (([1], "a"), "row 2, x: text where others hold a list of whole numbers"),
        (([1], ["a"]), "row 2, x: text where others hold a whole number"),
        (({"a": 1}, {"a": [1]}), "row 2, x: a list of whole numbers where others hold a whole number"),
        (([1, "a"],), "row 1, x: text where others hold a whole number"),
        ((True, 1), "row 2, x: a whole number where others hold true or false"),
        ((2**63,), "row 1, x: a whole number beyond 64 bits"),
        (({},), "column 'x': objects without any field"),
    ],
)
def test_values_that_no_column_can_hold_are_problems_of_the_typed_formats(values, said):
    for form in ("parquet", "imagefolder"):
        assert said in "\n".join(map(str, dataset_problems(columns(*values), DatasetParams(format=form))))
    for form in ("jsonl", "webdataset"):
        assert dataset_problems(columns(*values), DatasetParams(format=form)) == []


@pytest.mark.parametrize(
    "values",
    [(None, 1, 2.5), ([], [1], [None]), ({"a": 1}, {"b": [{}, {"c": None}]}), ([[], [[1.5]]],), (None,), ([],)],
)
def test_values_of_one_type_with_gaps_go_into_parquet(values, tmp_path):
    samples = columns(*values)
    params = DatasetParams(format="parquet")
    assert dataset_problems(samples, params) == []
    nothing = {"frames": [], "bad_frames": [], "outside_seconds": [], "repeated_seconds": [], "dropped_seconds": []}
    found = {sample.id: nothing for sample in samples}
    publish(dataset_items(samples, found, params, dict.fromkeys(found, "train")), params, tmp_path)
    read = pq.read_table(tmp_path / "dataset" / "train.parquet").column("x").to_pylist()
    assert len(read) == len(values)
    assert all(value == wanted for value, wanted in zip(read, values, strict=True) if not isinstance(wanted, dict))


@pytest.mark.parametrize("name", ["images", "file_name", "file_names", "mask_file_name", "x_file_names"])
def test_columns_that_imagefolder_takes_for_pictures_are_problems(name):
    samples = [Sample("1", "v.mp4", (), {name: "x"})]
    assert len(dataset_problems(samples, DatasetParams(format="imagefolder"))) == 1
    assert dataset_problems(samples, DatasetParams(format="parquet")) == []


def test_mixed_types_are_loaded_from_jsonl_by_whoever_reads_json(tmp_path):
    samples = columns(1, "a", [2**70])
    found = {
        sample.id: {
            "frames": [],
            "bad_frames": [],
            "outside_seconds": [],
            "repeated_seconds": [],
            "dropped_seconds": [],
        }
        for sample in samples
    }
    publish(dataset_items(samples, found, DatasetParams(), dict.fromkeys(found, "train")), DatasetParams(), tmp_path)
    lines = io.StringIO((tmp_path / "dataset" / "train.jsonl").read_text())
    assert [json.loads(line)["x"] for line in lines] == [1, "a", [2**70]]


@pytest.mark.parametrize("wrong", [{"format": "tfrecord"}, {"samples_per_tar": 0}, {"shards": 3}])
def test_wrong_parameters_are_refused(wrong):
    with pytest.raises(ValidationError):
        DatasetParams(**wrong)


@pytest.mark.parametrize("form", FORMATS)
def test_ids_of_any_form_stand_in_the_rows_of_every_format(form, libraries, tmp_path):
    names = ["-5nEBVFY0nk", "a/b.c", "中文", "SAME", "same"]
    output_dir = tmp_path / "out"
    samples, details = [], []
    for name, sample_id in zip(names, distinct_ids(names), strict=True):
        samples.append(Sample(sample_id, f"{name}.mp4", name=name))
        empty = {key: [] for key in ("bad_frames", "outside_seconds", "repeated_seconds", "dropped_seconds")}
        details.append({"id": sample_id, "frames": [picture(output_dir, sample_id, 0)], **empty})
    params = DatasetParams(format=form)
    split_of = {sample.id: "train" for sample in samples}
    publish(dataset_items(samples, frames_by_sample([{"samples": details}]), params, split_of), params, output_dir)
    folder = output_dir / "dataset"
    if form == "webdataset":
        found = read_tars(libraries[1], f"{folder}/train-000000.tar")
        assert [sample_id_of(sample["__key__"]) for sample in found] == [sample.id for sample in samples]
        assert [sample["0000.jpg"] for sample in found] == [pictures_of(each, output_dir)[0] for each in details]
        rows = [json.loads(sample["json"]) for sample in found]
    elif form == "parquet":
        rows = pq.read_table(folder / "train.parquet").to_pylist()
    else:
        path = folder / ("train.jsonl" if form == "jsonl" else "train/metadata.jsonl")
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(row["id"], row["video"]) for row in rows] == [(name, f"{name}.mp4") for name in names]
    if form == "imagefolder":
        files = [folder / "train" / row["file_names"][0] for row in rows]
        assert [file.read_bytes() for file in files] == [pictures_of(each, output_dir)[0] for each in details]
        assert len({str(file).lower() for file in files}) == len(names)
