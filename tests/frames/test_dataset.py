"""Each dataset format is read back with the library of its users.

`build_dataset` publishes every part of a dataset like the engine; `load` is `datasets.load_dataset`, offline, with its
caches in a temporary folder.
"""

import gc
import hashlib
import io
import json
import os
import re
import shutil
import tarfile
import warnings
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from tasks.engine.contract.errors import BadInput
from tasks.engine.contract.items import is_safe_id, make_distinct_ids
from tasks.engine.contract.stage import Workspace
from tasks.frames.dataset import (
    DatasetParams,
    DatasetStage,
    check_columns,
    check_options,
    decode_webdataset_key,
    encode_webdataset_key,
    index_details,
    plan_dataset,
)
from tasks.frames.manifest import Sample

FORMATS = ("jsonl", "parquet", "webdataset", "imagefolder")
EMPTY = {
    "frames": [],
    "bad_frames": [],
    "outside_seconds": [],
    "repeated_seconds": [],
    "dropped_seconds": [],
    "left_out_frames": 0,
    "offset_seconds": 0.0,
    "shot_seconds": [],
}
# Ids that some formats misread: dots (WebDataset cuts keys there), and names of splits (datasets would add a split).
IDS = ("q.1", "q_1", "test_1", "12", "my-train", "v1.2.tar.gz", "q7")
FAILED = "failed"
STAGE_COLUMNS = tuple(EMPTY)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory):
    """Import `datasets` and `webdataset` once, without network or home folder."""
    home = str(tmp_path_factory.mktemp("hugging_face"))
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", HF_HOME=home, HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    import datasets
    import webdataset

    datasets.disable_progress_bars()
    return datasets, webdataset


@pytest.fixture
def load(libraries, tmp_path):
    def load(*args, **kwargs):
        loaded = libraries[0].load_dataset(*args, cache_dir=str(tmp_path / "cache"), **kwargs)
        return {split: list(_disable_decoding(libraries[0], rows)) for split, rows in loaded.items()}

    return load


def _disable_decoding(datasets, rows):
    """Return the rows with encoded files in place of decoded images."""
    plain = datasets.Image(decode=False)
    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, plain)
        elif getattr(feature, "feature", None) == datasets.Image():
            rows = rows.cast_column(name, datasets.List(plain))
    return rows


def write_frame(output_dir, sample_id, number):
    """Write a JPEG to the published frames and return its provenance."""
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
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "phash": f"{number:016x}",
        "sar": "1:1",
        "color": "unknown",
        "interlaced": False,
    }


@pytest.fixture
def question_set(tmp_path):
    """Create seven samples in two splits, with 1 to 3 frames, and one failed video. Some columns are empty in val."""
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
        frames = [write_frame(output_dir, sample_id, number) for number in range(1 + n % 3)]
        outside = [99.5] if n == 0 else []
        details.append(
            {**EMPTY, "id": sample_id, "video": "v", "frames": frames, "outside_seconds": outside},
        )
        split_of[sample_id] = "train" if n < 4 else "val"
    samples.insert(2, Sample(FAILED, "damaged.mp4"))
    split_of[FAILED] = "val"
    details_by_id = index_details([{"samples": details[:3]}, {"samples": details[3:]}])
    return samples, details_by_id, split_of


def publish(items, params, output_dir):
    for item in items:
        DatasetStage(params).run(item, Workspace(output_dir, output_dir / "scratch", output_dir))


@pytest.fixture
def build_dataset(question_set, tmp_path):
    def build_dataset(**params):
        chosen = DatasetParams(**params)
        publish(plan_dataset(question_set[0], question_set[1], chosen, question_set[2]), chosen, tmp_path / "out")
        return tmp_path / "out" / "dataset"

    return build_dataset


def build_expected_rows(question_set):
    samples, details_by_id, split_of = question_set
    names = ("question", "choices", "meta", "answer", "day")
    rows = {"train": [], "val": []}
    for sample in samples:
        if sample.id in details_by_id:
            own = {"id": sample.id, "video": sample.video, "split": split_of[sample.id], "support_seconds": [0.0]}
            stage_values = {name: details_by_id[sample.id][name] for name in STAGE_COLUMNS}
            rows[split_of[sample.id]].append({**own, **stage_values, **{name: sample.fields[name] for name in names}})
    return rows


def read_images(row, output_dir):
    return [(output_dir / frame["path"]).read_bytes() for frame in row["frames"]]


def test_jsonl_has_one_row_per_sample_in_manifest_order(build_dataset, question_set):
    folder = build_dataset(format="jsonl")
    rows = build_expected_rows(question_set)
    for split in rows:
        lines = (folder / f"{split}.jsonl").read_text().split("\n")
        assert [json.loads(line) for line in lines[:-1]] == rows[split]
        assert lines[-1] == ""


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_datasets_loads_tables_with_columns_that_are_empty_in_one_split(build_dataset, load, question_set, form):
    loaded, expected = load(str(build_dataset(format=form, embed_images=False))), build_expected_rows(question_set)
    if form == "jsonl":  # datasets converts a column to times if all its text looks like dates
        for row in (*loaded["val"], *expected["val"]):
            assert row.pop("day").startswith("2024-05-06")
    assert loaded == expected


def test_pyarrow_reads_parquet_with_one_schema_for_all_splits(build_dataset, question_set):
    folder = build_dataset(format="parquet", embed_images=False)
    tables = {split: pq.read_table(folder / f"{split}.parquet") for split in ("train", "val")}
    assert {split: table.to_pylist() for split, table in tables.items()} == build_expected_rows(question_set)
    assert tables["train"].schema == tables["val"].schema
    schema = tables["train"].schema
    assert schema.field("outside_seconds").type == pa.list_(pa.float64())
    assert schema.field("answer").type == pa.int64()
    assert schema.field("frames").type.value_type.field("pts").type == pa.int64()


def read_tars(webdataset, url, *decode):
    """Return all samples; WebDataset leaves closing its files to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        samples = webdataset.WebDataset(url, shardshuffle=False)
        loaded = list(samples.decode(*decode) if decode else samples)
        del samples
        gc.collect()
    return loaded


def test_webdataset_reads_the_published_image_bytes(build_dataset, libraries, question_set, tmp_path):
    folder = build_dataset(format="webdataset", shard_samples=3)
    names = sorted(path.name for path in folder.glob("*.tar"))
    assert [name for name in names if name.startswith("val-")] == ["val-0.tar"]
    assert len(names) >= 3
    expected = build_expected_rows(question_set)
    for split in ("train", "val"):
        loaded = read_tars(libraries[1], [f"{folder}/{name}" for name in names if name.startswith(f"{split}-")])
        rows = [json.loads(sample["json"]) for sample in loaded]
        assert sorted(rows, key=str) == sorted(expected[split], key=str)
        assert [decode_webdataset_key(sample["__key__"]) for sample in loaded] == [row["id"] for row in rows]
        for sample, row in zip(loaded, rows, strict=True):
            inside = [sample[name] for name in sorted(sample) if name.endswith(".jpg")]
            assert inside == read_images(row, tmp_path / "out")


def plan_many(question_set, names, **options):
    """Return the items of a dataset of these samples, each with the frames of the first one."""
    samples = [Sample(name, "v.mp4") for name in names]
    details = dict.fromkeys(names, question_set[1][IDS[2]])
    params = DatasetParams(format="webdataset", **options)
    return {item.id: item for item in plan_dataset(samples, details, params, dict.fromkeys(names, "train"))}


@pytest.mark.parametrize("options", [{"shard_samples": 20}, {"shard_bytes": 200_000}])
def test_inserted_sample_changes_only_its_own_shard(question_set, options):
    names = [f"sample {number}" for number in range(300)]
    before = plan_many(question_set, names, **options)
    assert len(before) > 10
    for place in (0, 150, 300):
        after = plan_many(question_set, [*names[:place], "new", *names[place:]], **options)
        kept = {name for name in before if before[name] == after.get(name)}
        changed = before.keys() - kept - {"card"}
        assert len(changed) == 1
        (old,) = changed
        more = [row["id"] for name in after.keys() - kept - {"card"} for row in after[name].payload["rows"]]
        assert sorted(more) == sorted(["new", *(row["id"] for row in before[old].payload["rows"])])


def test_shards_are_within_the_limits_and_complete(question_set, tmp_path):
    names = [f"sample {number}" for number in range(120)] + ["é" * 60]
    items = plan_many(question_set, names, shard_bytes=150_000)
    publish([item for item in items.values() if item.id != "card"], DatasetParams(), tmp_path / "out")
    paths = sorted((tmp_path / "out" / "dataset").glob("*.tar"))
    assert len(paths) > 2
    assert max(path.stat().st_size for path in paths) <= 150_000
    rows = [row["id"] for item in items.values() for row in item.payload["rows"]]
    assert sorted(rows) == sorted(names)


def test_parquet_holds_the_published_image_bytes(build_dataset, load, question_set, tmp_path):
    folder = build_dataset(format="parquet", shard_samples=3)
    shutil.move(folder, tmp_path / "elsewhere")  # the dataset must not refer to other folders
    frames = tmp_path / "out" / "frames"
    moved = frames.rename(tmp_path / "frames-gone")
    loaded = load(str(tmp_path / "elsewhere"))
    moved.rename(frames)
    expected = build_expected_rows(question_set)
    for split, rows in loaded.items():
        assert len(rows) == len(expected[split])
        for row in rows:
            (wanted,) = [one for one in expected[split] if one["id"] == row["id"]]
            assert [image["bytes"] for image in row.pop("images")] == read_images(wanted, tmp_path / "out")
            assert row == wanted


@pytest.mark.parametrize("form", ["parquet", "lance"])
def test_datasets_shows_images_of_tables(build_dataset, libraries, tmp_path, form):
    if form == "lance":
        pytest.importorskip("lance")
    folder = build_dataset(format=form)
    loaded = libraries[0].load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].features["images"] == libraries[0].List(libraries[0].Image())
    rows = {row["id"]: row for split in loaded.values() for row in split}
    assert sorted(rows) == sorted(IDS)
    for number, name in enumerate(IDS):
        images = rows[name]["images"]
        assert [image.size for image in images] == [(32, 24)] * (1 + number % 3)
        published = cv2.imread(str(tmp_path / "out" / "frames" / name / "0000.jpg"))
        np.testing.assert_array_equal(np.asarray(images[0])[:, :, ::-1], published)


def test_jsonl_paths_lead_to_images_below_the_dataset(build_dataset, question_set, tmp_path):
    folder = build_dataset(format="jsonl")
    for split, rows in build_expected_rows(question_set).items():
        lines = [json.loads(line) for line in (folder / f"{split}.jsonl").read_bytes().splitlines()]
        assert [read_images(line, folder) for line in lines] == [read_images(row, tmp_path / "out") for row in rows]
    shutil.rmtree(folder)
    assert not (build_dataset(format="jsonl", embed_images=False) / "frames").exists()


def test_card_has_counts_license_and_provenance(question_set):
    samples, details_by_id, split_of = question_set
    params = DatasetParams(license="cc-by-4.0")
    provenance = {"generator": "Headrace 1", "source": "train.json", "options": {"fps": 1.0}}
    text = plan_dataset(samples, details_by_id, params, split_of, provenance)[-1].payload["text"]
    head = yaml.safe_load(text.split("---")[1])
    assert (head["license"], head["size_categories"]) == ("cc-by-4.0", ["n<1K"])
    frames = [frame for detail in details_by_id.values() for frame in detail["frames"]]
    counts = re.findall(r"^\| (train|val) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", text, re.MULTILINE)
    assert [(name, int(count), int(videos)) for name, count, videos, *_ in counts] == [("train", 4, 2), ("val", 3, 2)]
    assert sum(int(row[3]) for row in counts) == len(frames)
    assert sum(int(row[4]) for row in counts) == sum(frame["size_bytes"] for frame in frames)
    for line in ("generator: Headrace 1", "source: train.json", "omitted samples: 1", 'options: `{"fps": 1.0}`'):
        assert f"- {line}" in text
    without = plan_dataset(samples, details_by_id, DatasetParams(), split_of)[-1].payload["text"]
    assert yaml.safe_load(without.split("---")[1])["license"] == "unknown"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"format": "webdataset", "embed_images": False}, "--no-embed-images: given with webdataset"),
        ({"format": "jsonl", "shard_samples": 5}, "--shard-samples: given with jsonl"),
        ({"format": "imagefolder", "shard_bytes": 5}, "--shard-bytes: given with imagefolder"),
        ({"format": "imagefolder", "frames": False}, "--no-frames: given with imagefolder"),
        ({"format": "webdataset", "shard_bytes": 0}, "--shard-bytes: 0"),
    ],
)
def test_option_without_effect_on_the_format_is_a_problem(options, words):
    (problem,) = check_options(
        {**dict.fromkeys(("shard_samples", "shard_bytes")), "embed_images": True, "frames": True, **options}
    )
    assert words in str(problem)


def test_webdataset_decodes_images_by_file_extension(build_dataset, libraries):
    folder = build_dataset(format="webdataset")
    first = read_tars(libraries[1], f"{folder}/train-0.tar", "rgb8")[0]
    assert first["0000.jpg"].shape == (24, 32, 3)
    assert first["json"]["id"] == IDS[0]


def test_datasets_loads_webdataset_with_varying_numbers_of_frames(build_dataset, load, question_set):
    loaded = load(str(build_dataset(format="webdataset")))
    assert {split: [row["json"] for row in rows] for split, rows in loaded.items()} == build_expected_rows(question_set)
    assert [sum(row[f"{n:04d}.jpg"] is not None for n in range(3)) for row in loaded["train"]] == [1, 2, 3, 1]


@pytest.mark.parametrize("how", ["card", "imagefolder"])
def test_datasets_loads_imagefolder_with_all_images_of_a_sample(build_dataset, load, question_set, tmp_path, how):
    folder = build_dataset(format="imagefolder", shard_samples=3)
    loaded = load(str(folder)) if how == "card" else load("imagefolder", data_dir=str(folder))
    expected = build_expected_rows(question_set)
    if how == "imagefolder":  # datasets renames the folder "val" to "validation"
        loaded["val"] = loaded.pop("validation")
    assert {split: [row["id"] for row in rows] for split, rows in loaded.items()} == {
        split: [row["id"] for row in rows] for split, rows in expected.items()
    }
    for split, rows in loaded.items():
        for row, wanted in zip(rows, expected[split], strict=True):
            content = [Path(image["path"]).read_bytes() for image in row.pop("images")]
            assert content == read_images(wanted, tmp_path / "out")
            assert row == wanted


def test_imagefolder_metadata_is_jsonl_when_types_can_be_inferred(question_set, load, tmp_path):
    samples, details_by_id, _ = question_set
    samples = [Sample(s.id, s.video, s.support_seconds, {"question": s.fields.get("question")}) for s in samples]
    params = DatasetParams(format="imagefolder")
    items = plan_dataset(samples, details_by_id, params, dict.fromkeys([*IDS, FAILED], "train"))
    publish(items, params, tmp_path / "out")
    folder = tmp_path / "out" / "dataset"
    assert sorted(path.name for path in (folder / "train").iterdir()) == ["images", "metadata.jsonl"]
    lines = (folder / "train" / "metadata.jsonl").read_text().rstrip("\n").split("\n")
    assert [json.loads(line)["id"] for line in lines] == list(IDS)
    assert load("imagefolder", data_dir=str(folder))["train"] == load(str(folder))["train"]
    assert [len(row["images"]) for row in load(str(folder))["train"]] == [1, 2, 3, 1, 2, 3, 1]


def test_imagefolder_metadata_is_parquet_when_jsonl_would_not_load(build_dataset):
    folder = build_dataset(format="imagefolder")
    assert (folder / "val" / "metadata.parquet").is_file()
    assert not list(folder.rglob("metadata.jsonl"))


def test_imagefolder_leaves_out_a_sample_without_frames(question_set, load, tmp_path):
    samples, details_by_id, split_of = question_set
    details_by_id["q7"] = {**details_by_id["q7"], "frames": []}
    params = DatasetParams(format="imagefolder")
    publish(plan_dataset(samples, details_by_id, params, split_of), params, tmp_path / "out")
    rows = load(str(tmp_path / "out" / "dataset"))
    assert [row["id"] for row in rows["val"]] == ["my-train", "v1.2.tar.gz"]


def test_imagefolder_images_are_hard_links(build_dataset, tmp_path):
    folder = build_dataset(format="imagefolder")
    assert (folder / "train" / "images" / "q_1" / "0000.jpg").samefile(tmp_path / "out" / "frames" / "q_1" / "0000.jpg")


@pytest.mark.parametrize("form", FORMATS)
def test_same_rows_give_the_same_bytes_in_any_order(question_set, tmp_path, form):
    samples, details_by_id, split_of = question_set
    params = DatasetParams(format=form, shard_samples=2)
    digests = []
    for is_reversed in (False, True):
        frames = dict(reversed(details_by_id.items())) if is_reversed else details_by_id
        items = plan_dataset(samples, frames, params, dict(reversed(split_of.items())))
        into = tmp_path / f"into{is_reversed}"
        for item in reversed(items) if is_reversed else items:
            DatasetStage(params).run(item, Workspace(into, into / "scratch", tmp_path / "out"))
        files = sorted(path for path in into.rglob("*") if path.is_file())
        digests.append({str(path.relative_to(into)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files})
    assert digests[0] == digests[1]
    assert len(digests[0]) >= 3


def test_tar_headers_contain_no_time_and_no_user(build_dataset):
    with tarfile.open(build_dataset(format="webdataset") / "train-0.tar") as tar:
        members = tar.getmembers()
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in members} == {(0, 0, 0, "", "", 0o644)}
    assert [member.name for member in members][:3] == ["q%2E1.json", "q%2E1.0000.jpg", "q_1.json"]


@pytest.mark.parametrize("form", FORMATS)
def test_parts_are_items_with_safe_ids_and_json_payloads(question_set, form):
    samples, details_by_id, split_of = question_set
    items = plan_dataset(samples, details_by_id, DatasetParams(format=form, shard_samples=2), split_of)
    assert all(is_safe_id(item.id) for item in items)
    assert len({item.id for item in items}) == len(items)
    for item in items:
        assert json.loads(json.dumps(item.payload, allow_nan=False)) == item.payload


def test_changed_answer_changes_metadata_but_no_images(question_set):
    samples, details_by_id, split_of = question_set
    params = DatasetParams(format="imagefolder")
    before = {item.id: item for item in plan_dataset(samples, details_by_id, params, split_of)}
    samples[0] = Sample(samples[0].id, samples[0].video, samples[0].support_seconds, {**samples[0].fields, "answer": 7})
    after = {item.id: item for item in plan_dataset(samples, details_by_id, params, split_of)}
    assert [name for name in before if before[name] != after[name]] == ["train-metadata.parquet"]


def test_changed_image_changes_the_parts_that_contain_it(question_set):
    samples, details_by_id, split_of = question_set
    params = DatasetParams(format="webdataset", shard_samples=2)
    before = {item.id: item for item in plan_dataset(samples, details_by_id, params, split_of)}
    sample = details_by_id["q.1"]
    details_by_id["q.1"] = {**sample, "frames": [{**sample["frames"][0], "sha256": "0" * 64}]}
    after = {item.id: item for item in plan_dataset(samples, details_by_id, params, split_of)}
    assert [name for name in before if before[name] != after[name]] == ["train-000.tar"]


@pytest.mark.parametrize("form", ["webdataset", "imagefolder"])
def test_changed_or_missing_image_fails_its_part_by_name(question_set, tmp_path, form):
    samples, details_by_id, split_of = question_set
    params = DatasetParams(format=form)
    items = plan_dataset(samples, details_by_id, params, split_of)
    victim = tmp_path / "out" / "frames" / "q_1" / "0000.jpg"
    victim.write_bytes(victim.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match=r"frames/q_1/0000\.jpg was changed after it was written"):
        publish(items, params, tmp_path / "out")
    victim.unlink()
    with pytest.raises(BadInput, match=r"frames/q_1/0000\.jpg is missing"):
        publish(items, params, tmp_path / "out")


def test_dataset_without_finished_samples_has_no_parts(question_set):
    assert plan_dataset(question_set[0], {}, DatasetParams(), question_set[2]) == []


def test_sample_without_frames_is_still_a_row(question_set, build_dataset, load):
    question_set[1]["q7"] = {**question_set[1]["q7"], "frames": []}
    for form in ("jsonl", "parquet"):
        assert load(str(build_dataset(format=form)))["val"][-1]["frames"] == []


@pytest.mark.parametrize("sample_id", [*IDS, "a..b", "a.json", "A-Z_0"])
def test_webdataset_key_has_no_dot_and_decodes_to_the_id(sample_id):
    assert "." not in encode_webdataset_key(sample_id)
    assert decode_webdataset_key(encode_webdataset_key(sample_id)) == sample_id


def create_samples(*values):
    return [Sample(str(n), "v.mp4", (), {"x": value}, f"row {n}") for n, value in enumerate(values, start=1)]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((1, "a"), "row 2, x: text where others have a whole number"),
        (([1], "a"), "row 2, x: text where others have a list of whole numbers"),
        (([1], ["a"]), "row 2, x: text where others have a whole number"),
        (({"a": 1}, {"a": [1]}), "row 2, x: a list of whole numbers where others have a whole number"),
        (([1, "a"],), "row 1, x: text where others have a whole number"),
        ((True, 1), "row 2, x: a whole number where others have true or false"),
        ((2**63,), "row 1, x: a whole number beyond 64 bits"),
        (({},), "column 'x': objects without fields"),
    ],
)
def test_mixed_types_are_problems_in_typed_formats(values, message):
    for form in ("parquet", "imagefolder"):
        assert message in "\n".join(map(str, check_columns(create_samples(*values), DatasetParams(format=form))))
    for form in ("jsonl", "webdataset"):
        assert check_columns(create_samples(*values), DatasetParams(format=form)) == []


@pytest.mark.parametrize(
    "values",
    [(None, 1, 2.5), ([], [1], [None]), ({"a": 1}, {"b": [{}, {"c": None}]}), ([[], [[1.5]]],), (None,), ([],)],
)
def test_parquet_accepts_one_type_with_gaps(values, tmp_path):
    samples = create_samples(*values)
    params = DatasetParams(format="parquet", embed_images=False)
    assert check_columns(samples, params) == []
    details_by_id = {sample.id: EMPTY for sample in samples}
    publish(plan_dataset(samples, details_by_id, params, dict.fromkeys(details_by_id, "train")), params, tmp_path)
    read = pq.read_table(tmp_path / "dataset" / "train.parquet").column("x").to_pylist()
    assert len(read) == len(values)
    assert all(value == wanted for value, wanted in zip(read, values, strict=True) if not isinstance(wanted, dict))


@pytest.mark.parametrize("name", ["images", "file_name", "file_names", "mask_file_name", "x_file_names"])
def test_columns_that_imagefolder_reads_as_images_are_problems(name):
    samples = [Sample("1", "v.mp4", (), {name: "x"})]
    assert len(check_columns(samples, DatasetParams(format="imagefolder"))) == 1
    assert check_columns(samples, DatasetParams(format="parquet", embed_images=False)) == []


def test_jsonl_stores_mixed_types(tmp_path):
    samples = create_samples(1, "a", [2**70])
    details_by_id = {sample.id: EMPTY for sample in samples}
    split_of = dict.fromkeys(details_by_id, "train")
    publish(plan_dataset(samples, details_by_id, DatasetParams(), split_of), DatasetParams(), tmp_path)
    lines = io.StringIO((tmp_path / "dataset" / "train.jsonl").read_text())
    assert [json.loads(line)["x"] for line in lines] == [1, "a", [2**70]]


@pytest.mark.parametrize("params", [{"format": "tfrecord"}, {"shard_samples": 0}, {"shards": 3}])
def test_invalid_parameters_are_rejected(params):
    with pytest.raises(ValidationError):
        DatasetParams(**params)


@pytest.mark.parametrize("form", FORMATS)
def test_rows_of_every_format_keep_ids_of_any_form(form, libraries, tmp_path):
    names = ["-5nEBVFY0nk", "a/b.c", "中文", "SAME", "same"]
    output_dir = tmp_path / "out"
    samples, details = [], []
    for name, sample_id in zip(names, make_distinct_ids(names), strict=True):
        samples.append(Sample(sample_id, f"{name}.mp4", name=name))
        details.append({**EMPTY, "id": sample_id, "frames": [write_frame(output_dir, sample_id, 0)]})
    params = DatasetParams(format=form)
    split_of = {sample.id: "train" for sample in samples}
    publish(plan_dataset(samples, index_details([{"samples": details}]), params, split_of), params, output_dir)
    folder = output_dir / "dataset"
    if form == "webdataset":
        loaded = read_tars(libraries[1], f"{folder}/train-0.tar")
        assert [decode_webdataset_key(sample["__key__"]) for sample in loaded] == [sample.id for sample in samples]
        assert [sample["0000.jpg"] for sample in loaded] == [read_images(each, output_dir)[0] for each in details]
        rows = [json.loads(sample["json"]) for sample in loaded]
    elif form == "parquet":
        rows = pq.read_table(folder / "train-0.parquet").to_pylist()
    else:
        path = folder / ("train.jsonl" if form == "jsonl" else "train/metadata.jsonl")
        rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [(row["id"], row["video"]) for row in rows] == [(name, f"{name}.mp4") for name in names]
    if form == "imagefolder":
        files = [folder / "train" / row["file_names"][0] for row in rows]
        assert [file.read_bytes() for file in files] == [read_images(each, output_dir)[0] for each in details]
        assert len({str(file).lower() for file in files}) == len(names)


@pytest.fixture
def with_media(question_set, tmp_path):
    """Add a clip and an audio file to the first sample, and a clip that could not be cut to another one."""
    _, details_by_id, _ = question_set
    files = {}
    for column, path in (("clip_file", "clips/q_1.mp4"), ("audio_file", "audio/q_1.flac")):
        content = f"content of {path}".encode()
        (tmp_path / "out" / path).parent.mkdir(parents=True)
        (tmp_path / "out" / path).write_bytes(content)
        files[column] = {"path": path, "size_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    for name in details_by_id:
        details_by_id[name] |= dict.fromkeys(files)
    details_by_id["q.1"] |= {"clip_file": dict.fromkeys(files["clip_file"])}
    details_by_id["q_1"] |= files
    return {path: f"content of {path}".encode() for path in ("clips/q_1.mp4", "audio/q_1.flac")}


@pytest.mark.parametrize("form", ["jsonl", "imagefolder"])
def test_clips_and_audio_are_below_the_dataset(build_dataset, with_media, form, load):
    folder = build_dataset(format=form)
    for path, content in with_media.items():
        assert (folder / path).read_bytes() == content
    rows = {row["id"]: row for split in load(str(folder)).values() for row in split}
    assert rows["q_1"]["clip_file"]["path"] == "clips/q_1.mp4"
    assert rows["q7"]["audio_file"] is None or rows["q7"]["audio_file"]["path"] is None


def test_webdataset_has_clips_and_audio(build_dataset, libraries, with_media):
    folder = build_dataset(format="webdataset")
    loaded = {sample["__key__"]: sample for sample in read_tars(libraries[1], f"{folder}/train-0.tar")}
    assert [loaded["q_1"]["mp4"], loaded["q_1"]["flac"]] == list(with_media.values())
    assert "mp4" not in loaded["q%2E1"]


@pytest.mark.parametrize("form", ["parquet", "lance"])
def test_tables_have_clips_and_audio(build_dataset, libraries, with_media, form, tmp_path):
    folder = build_dataset(format=form)
    loaded = libraries[0].load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))["train"]
    plain = {"clip": libraries[0].Video(decode=False), "audio": libraries[0].Audio(decode=False)}
    for name, feature in plain.items():
        assert type(loaded.features[name]) is type(feature)
        loaded = loaded.cast_column(name, feature)
    rows = {row["id"]: row for row in loaded.select_columns(["id", *plain])}
    assert [rows["q_1"][name]["bytes"] for name in plain] == list(with_media.values())
    assert rows["q.1"]["clip"] is None
