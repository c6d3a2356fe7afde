"""`LandmarkDataset` on real output folders, directly and in a DataLoader with worker processes."""

from __future__ import annotations

import csv
import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from tasks.landmarks.formats.writing import LandmarkFile
from tasks.landmarks.params import LandmarkFormat
from tasks.landmarks.torch_dataset import LandmarkDataset, collate, import_torch
from tests.landmarks.formats.samples import BAD, FILLED, create_modified_sample, create_sample, write_into

ROOT = Path(__file__).resolve().parents[2]
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="torch is not installed: make torch")
FORMATS: tuple[LandmarkFormat, ...] = get_args(LandmarkFormat)
ANNOTATION = "ABER FREUEN MORGEN, „SONNE“"


def publish(folder: Path, files: Sequence[LandmarkFile], format: LandmarkFormat = "npz") -> None:
    """Write the output of a run: landmarks and the table of samples, in the order of ``files``."""
    for file in files:
        write_into(folder, file, format)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "extraction_metrics.csv").open("w", encoding="utf-8", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["id", "name", "annotation", "frames"])
        for number, file in enumerate(files):
            rows.writerow([f"train.{file.name}", file.name, "" if number else ANNOTATION, file.sequence.frames])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Write a run with samples of 12, 20 and 11 frames in the split train."""
    files = [create_sample(name="b"), create_sample(frames=20, name="a.avi_pid0"), create_sample(frames=11, name="c")]
    publish(tmp_path / "train", files)
    return tmp_path


@needs_torch
def test_sample_has_tensors_and_metadata(out: Path) -> None:
    import torch

    expected = create_sample().sequence.points
    item = LandmarkDataset(out, split="train")[0]
    assert set(item) == {"landmarks", "mask", "fps", "name", "annotation"}
    assert (item["landmarks"].dtype, item["landmarks"].shape) == (torch.float32, (12, 553, 4))
    assert (item["mask"].dtype, item["mask"].shape) == (torch.bool, (12, 553))
    np.testing.assert_array_equal(item["mask"].numpy(), ~np.isnan(expected[..., 0]))
    np.testing.assert_array_equal(item["landmarks"].numpy(), np.nan_to_num(expected))
    assert not item["mask"][BAD].any()
    assert not item["landmarks"][~item["mask"]].any()
    assert (item["fps"], item["name"], item["annotation"]) == (30000 / 1001, "b", ANNOTATION)


@needs_torch
def test_order_is_that_of_the_table(out: Path) -> None:
    dataset = LandmarkDataset(out, split="train")
    assert len(dataset) == 3
    assert [dataset[index]["name"] for index in range(3)] == ["b", "a.avi_pid0", "c"]
    with pytest.raises(IndexError):
        dataset[3]


@needs_torch
@pytest.mark.parametrize("format", FORMATS)
def test_every_format_can_be_loaded(tmp_path: Path, format: LandmarkFormat) -> None:
    publish(tmp_path / "all", [create_modified_sample()], format)
    item = LandmarkDataset(tmp_path)[0]
    assert item["landmarks"].isfinite().all()
    np.testing.assert_allclose(
        item["landmarks"][..., :3][item["mask"]].numpy(),
        create_modified_sample().sequence.points[..., :3][item["mask"].numpy()],
        rtol=1e-6,
    )
    assert item["mask"][FILLED].all() or format in {"npy", "parquet"}  # these have no irises


@needs_torch
def test_raw_has_gaps(tmp_path: Path) -> None:
    publish(tmp_path / "all", [create_modified_sample()])
    item = LandmarkDataset(tmp_path, raw=True)[0]
    assert not item["mask"][FILLED, -21:].any()
    np.testing.assert_array_equal(item["landmarks"].numpy(), np.nan_to_num(create_modified_sample().raw.points))


@needs_torch
def test_collate_pads_to_the_longest(out: Path) -> None:
    import torch

    dataset = LandmarkDataset(out, split="train")
    batch = collate([dataset[index] for index in range(3)])
    assert batch["landmarks"].shape == (3, 20, 553, 4)
    assert batch["mask"].shape == (3, 20, 553)
    assert batch["lengths"].tolist() == batch["frame_mask"].sum(dim=1).tolist() == [12, 20, 11]
    assert (batch["frame_mask"].dtype, batch["frame_mask"][0].tolist()) == (torch.bool, [True] * 12 + [False] * 8)
    assert not batch["landmarks"][~batch["mask"]].any()
    assert not batch["mask"][~batch["frame_mask"]].any()
    assert torch.equal(batch["landmarks"][2, :11], dataset[2]["landmarks"])
    assert batch["fps"].tolist() == pytest.approx([30000 / 1001] * 3)
    assert (batch["name"], batch["annotation"]) == (["b", "a.avi_pid0", "c"], [ANNOTATION, "", ""])


@needs_torch
def test_empty_batch_is_rejected() -> None:
    with pytest.raises(ValueError, match="pass at least one sample"):
        collate([])


@needs_torch
def test_worker_processes_load_samples(out: Path) -> None:
    """Run a script instead, because pytest's threads turn a fork into a warning."""
    script = out / "train.py"
    script.write_text(
        "import sys\n"
        "from torch.utils.data import DataLoader\n"
        "from tasks.landmarks.torch_dataset import LandmarkDataset, collate\n"
        "if __name__ == '__main__':\n"
        "    dataset = LandmarkDataset(sys.argv[1])\n"
        "    loader = DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=collate)\n"
        "    for batch in loader:\n"
        "        print(batch['name'], tuple(batch['landmarks'].shape), batch['lengths'].tolist())\n"
    )
    command = [sys.executable, str(script), str(out)]
    process = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert process.stdout.splitlines() == [
        "['b', 'a.avi_pid0'] (2, 20, 553, 4) [12, 20]",
        "['c'] (1, 11, 553, 4) [11]",
    ], process.stderr


@needs_torch
def test_dataset_can_be_pickled(out: Path) -> None:
    restored = pickle.loads(pickle.dumps(LandmarkDataset(out)))
    assert [restored[index]["name"] for index in range(3)] == ["b", "a.avi_pid0", "c"]
    assert pickle.loads(pickle.dumps(collate)) is collate


@needs_torch
def test_data_loader_shuffles_samples(out: Path) -> None:
    import torch
    from torch.utils.data import DataLoader

    dataset = LandmarkDataset(out, split="train")
    loader: DataLoader = DataLoader(
        dataset, batch_size=3, shuffle=True, collate_fn=collate, generator=torch.Generator().manual_seed(1)
    )
    [batch] = loader
    assert sorted(batch["name"]) == ["a.avi_pid0", "b", "c"]


@needs_torch
class TestFolders:
    """Selection of the folder, split and format."""

    def test_split_folder_is_accepted(self, out: Path) -> None:
        assert len(LandmarkDataset(out / "train")) == 3

    def test_only_split_is_selected(self, out: Path) -> None:
        assert len(LandmarkDataset(str(out))) == 3

    def test_several_splits_need_a_choice(self, out: Path) -> None:
        publish(out / "dev", [create_sample()])
        with pytest.raises(ValueError, match="has several splits, choose one with split='dev' or 'train'"):
            LandmarkDataset(out)
        assert len(LandmarkDataset(out, "dev")) == 1

    def test_unknown_split_is_rejected(self, out: Path) -> None:
        with pytest.raises(FileNotFoundError, match="has no split 'test'; it has train"):
            LandmarkDataset(out, "test")

    def test_other_folder_is_rejected(self, tmp_path: Path) -> None:
        with pytest.raises(
            FileNotFoundError, match=r"have no extraction_metrics.csv; use an output folder of landmark_extr"
        ):
            LandmarkDataset(tmp_path)

    def test_several_formats_need_a_choice(self, out: Path) -> None:
        for file in (
            create_sample(name="b"),
            create_sample(frames=20, name="a.avi_pid0"),
            create_sample(frames=11, name="c"),
        ):
            write_into(out / "train", file, "npy")
        with pytest.raises(ValueError, match="has several formats, choose one with format='npy' or 'npz'"):
            LandmarkDataset(out)
        assert LandmarkDataset(out, format="npy").suffix == ".npy"

    def test_missing_file_is_reported(self, out: Path) -> None:
        (out / "train" / "landmarks" / "c.npz").unlink()
        with pytest.raises(FileNotFoundError, match="lacks the landmarks of 1 of 3 samples, such as c"):
            LandmarkDataset(out)

    def test_split_without_samples_is_empty(self, tmp_path: Path) -> None:
        publish(tmp_path / "dev", [])
        assert len(LandmarkDataset(tmp_path)) == 0


def test_missing_torch_gives_the_install_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"LandmarkDataset needs PyTorch: pip install 'headrace\[torch\]'"):
        LandmarkDataset(tmp_path)
    with pytest.raises(ImportError, match="make torch"):
        import_torch()


def test_import_loads_no_heavy_library() -> None:
    heavy = ("torch", "mediapipe", "cv2", "pose_format", "scipy", "prefect", "dask")
    code = f"import sys, tasks.landmarks.torch_dataset; print([name for name in {heavy} if name in sys.modules])"
    process = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert process.stdout.strip() == "[]"


def test_files_are_found_by_file_name_and_samples_keep_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.landmarks.torch_dataset.import_torch", lambda: None)
    write_into(tmp_path / "train", create_sample(name="digest"), "npz")
    (tmp_path / "train" / "extraction_metrics.csv").write_text("name,file_name\n中文,digest\n", encoding="utf-8")
    dataset = LandmarkDataset(tmp_path)
    assert (dataset.samples, dataset.file_names) == ([("中文", "")], ["digest"])
