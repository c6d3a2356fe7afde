"""PyTorch dataset of landmarks for training.

    dataset = LandmarkDataset("out", split="train")
    loader = DataLoader(dataset, batch_size=8, shuffle=True, num_workers=2, collate_fn=collate)

PyTorch is an optional extra (``pip install 'headrace[torch]'``), imported only when a tensor is needed.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, TypedDict, get_args

import numpy as np

from tasks.landmarks.formats.reading import read_landmarks
from tasks.landmarks.params import LandmarkFormat

if TYPE_CHECKING:
    from torch import Tensor

METRICS = "extraction_metrics.csv"
FOLDER = "landmarks"


class LandmarkSample(TypedDict):
    """One sample.

    landmarks  float32 [frames, points, 4]: x, y, z, visibility; 0 where the mask is False
    mask       bool [frames, points]: True for present points
    fps        frames per second
    annotation annotation in the corpus; empty without a corpus
    """

    landmarks: Tensor
    mask: Tensor
    fps: float
    name: str
    annotation: str


class LandmarkBatch(TypedDict):
    """Samples, padded at the end to the length of the longest one.

    landmarks   float32 [batch, frames, points, 4]; 0 where the mask is False
    mask        bool [batch, frames, points]: True for present points
    frame_mask  bool [batch, frames]: True for frames, False for padding
    lengths     int64 [batch]: frames of each sample
    fps         float32 [batch]
    """

    landmarks: Tensor
    mask: Tensor
    frame_mask: Tensor
    lengths: Tensor
    fps: Tensor
    name: list[str]
    annotation: list[str]


class LandmarkDataset:
    """Map-style dataset of the samples of one split, in the order of its ``extraction_metrics.csv``.

    folder  output folder of ``landmark_extraction``, or the folder of one split in it
    split   train, dev, ...; None selects the only split
    format  npz, npy, pose or parquet; None selects the only format
    raw     landmarks as detected: with gaps, not normalized
    """

    def __init__(
        self,
        folder: str | Path,
        split: str | None = None,
        *,
        format: LandmarkFormat | None = None,
        raw: bool = False,
    ) -> None:
        """Raises ImportError without PyTorch, FileNotFoundError or ValueError for an unsuitable folder."""
        import_torch()
        self.folder = find_split_folder(Path(folder), split)
        self.raw = raw
        with (self.folder / METRICS).open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        self.samples = [(row["name"], row.get("annotation") or "") for row in rows]
        self.file_names = [row.get("file_name") or row["name"] for row in rows]
        self.suffix = _find_suffix(self.folder / FOLDER, self.file_names, format)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.samples)

    def __getitem__(self, index: int) -> LandmarkSample:
        """Return sample ``index``. Raises IndexError beyond the end, OSError or ValueError if it is damaged."""
        torch = import_torch()
        name, annotation = self.samples[index]
        file = read_landmarks(self.folder / FOLDER / f"{self.file_names[index]}{self.suffix}")
        sequence = file.raw if self.raw else file.sequence
        mask = ~np.isnan(sequence.points[..., 0])
        return {
            "landmarks": torch.from_numpy(np.nan_to_num(sequence.points)),
            "mask": torch.from_numpy(mask),
            "fps": sequence.fps,
            "name": name,
            "annotation": annotation,
        }


def collate(batch: Sequence[LandmarkSample]) -> LandmarkBatch:
    """Collate samples into one batch, for ``DataLoader(collate_fn=...)``. Raises ValueError if there are none."""
    if not batch:
        raise ValueError("an empty batch cannot be collated; pass at least one sample")
    torch = import_torch()
    lengths = torch.tensor([len(sample["landmarks"]) for sample in batch])
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "landmarks": pad([sample["landmarks"] for sample in batch], batch_first=True),
        "mask": pad([sample["mask"] for sample in batch], batch_first=True),
        "frame_mask": torch.arange(int(lengths.max())) < lengths[:, None],
        "lengths": lengths,
        "fps": torch.tensor([sample["fps"] for sample in batch], dtype=torch.float32),
        "name": [sample["name"] for sample in batch],
        "annotation": [sample["annotation"] for sample in batch],
    }


def find_split_folder(folder: Path, split: str | None) -> Path:
    """Return the folder of the split. Raises FileNotFoundError if it is missing, ValueError if one must be chosen."""
    if split is None and (folder / METRICS).is_file():
        return folder
    splits = sorted(path.parent.name for path in folder.glob(f"*/{METRICS}"))
    if not splits:
        raise FileNotFoundError(
            f"{folder} and its subfolders have no {METRICS}; use an output folder of landmark_extraction"
        )
    if split is None and len(splits) > 1:
        raise ValueError(f"{folder} has several splits, choose one with split={' or '.join(map(repr, splits))}")
    if split is not None and split not in splits:
        raise FileNotFoundError(f"{folder} has no split {split!r}; it has {', '.join(splits)}")
    return folder / (split or splits[0])


def _find_suffix(folder: Path, names: Sequence[str], format: LandmarkFormat | None) -> str:
    """Return the files' suffix. Raises FileNotFoundError for a missing file, ValueError for several formats."""
    existing = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    formats = [format] if format else list(get_args(LandmarkFormat))
    complete = [kind for kind in formats if names and all(f"{name}.{kind}" in existing for name in names)]
    if len(complete) > 1:
        raise ValueError(f"{folder} has several formats, choose one with format={' or '.join(map(repr, complete))}")
    if names and not complete:
        missing = min(([name for name in names if f"{name}.{kind}" not in existing] for kind in formats), key=len)
        raise FileNotFoundError(
            f"{folder} lacks the landmarks of {len(missing)} of {len(names)} samples, such as {missing[0]};"
            " run landmark_extraction again"
        )
    return f".{complete[0]}" if complete else ""


def import_torch() -> ModuleType:
    """Import PyTorch. Raises ImportError with the install command if it is missing."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ImportError("LandmarkDataset needs PyTorch: pip install 'headrace[torch]' (or `make torch`)") from error
    module: ModuleType = torch
    return module
