"""Landmarks for training with PyTorch.

    dataset = LandmarkDataset("out", split="train")
    loader = DataLoader(dataset, batch_size=8, shuffle=True, num_workers=2, collate_fn=collate)

PyTorch is an optional extra (``pip install 'headrace[torch]'``); it is imported where a tensor is made and not before.
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
    mask       bool [frames, points]: where there is a point
    fps        frames per second
    annotation what the corpus says of the sample; empty where there is no corpus
    """

    landmarks: Tensor
    mask: Tensor
    fps: float
    name: str
    annotation: str


class LandmarkBatch(TypedDict):
    """Samples, padded at their ends to the longest of them.

    landmarks   float32 [batch, frames, points, 4]; 0 where the mask is False
    mask        bool [batch, frames, points]: where there is a point
    frame_mask  bool [batch, frames]: where there is a frame; False is padding
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
    """A map-style dataset of the samples of one split, in the order of its ``extraction_metrics.csv``.

    folder  the output folder of ``landmark_extraction``, or the folder of one split in it
    split   train, dev, ...; None takes the only one there is
    format  npz, npy, pose or parquet; None takes the only one there is
    raw     as found: with gaps, not normalised
    """

    def __init__(
        self,
        folder: str | Path,
        split: str | None = None,
        *,
        format: LandmarkFormat | None = None,
        raw: bool = False,
    ) -> None:
        """Raises ImportError without PyTorch, FileNotFoundError or ValueError where the folder is not of that kind."""
        import_torch()
        self.folder = split_folder(Path(folder), split)
        self.raw = raw
        with (self.folder / METRICS).open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        self.samples = [(row["name"], row.get("annotation") or "") for row in rows]
        self.file_names = [row.get("file_name") or row["name"] for row in rows]
        self.suffix = _suffix(self.folder / FOLDER, self.file_names, format)

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.samples)

    def __getitem__(self, index: int) -> LandmarkSample:
        """The sample at ``index``. Raises IndexError behind the last one, OSError or ValueError for a damaged file."""
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
    """One batch of ``batch``, for ``DataLoader(collate_fn=...)``. Raises ValueError for an empty one."""
    if not batch:
        raise ValueError("an empty batch cannot be collated: give it at least one sample")
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


def split_folder(folder: Path, split: str | None) -> Path:
    """The folder of the split. Raises FileNotFoundError where there is none, ValueError where one must be chosen."""
    if split is None and (folder / METRICS).is_file():
        return folder
    splits = sorted(path.parent.name for path in folder.glob(f"*/{METRICS}"))
    if not splits:
        raise FileNotFoundError(f"{folder} has no {METRICS}, nor has a folder in it: give landmark_extraction's output")
    if split is None and len(splits) > 1:
        raise ValueError(f"{folder} has several splits, choose one: split={' or '.join(map(repr, splits))}")
    if split is not None and split not in splits:
        raise FileNotFoundError(f"{folder} has no split {split!r}; there is {', '.join(splits)}")
    return folder / (split or splits[0])


def _suffix(folder: Path, names: Sequence[str], format: LandmarkFormat | None) -> str:
    """The files' suffix. Raises FileNotFoundError where one is missing, ValueError where one is to be chosen."""
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    formats = [format] if format else list(get_args(LandmarkFormat))
    found = [kind for kind in formats if names and all(f"{name}.{kind}" in there for name in names)]
    if len(found) > 1:
        raise ValueError(f"{folder} has several formats, choose one: format={' or '.join(map(repr, found))}")
    if names and not found:
        lacking = min(([name for name in names if f"{name}.{kind}" not in there] for kind in formats), key=len)
        raise FileNotFoundError(
            f"{folder} lacks the landmarks of {len(lacking)} of {len(names)} samples, {lacking[0]} the first:"
            " run landmark_extraction again"
        )
    return f".{found[0]}" if found else ""


def import_torch() -> ModuleType:
    """PyTorch. Raises ImportError with what to do where it is missing."""
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ImportError("LandmarkDataset needs PyTorch: pip install 'headrace[torch]' (or `make torch`)") from error
    module: ModuleType = torch
    return module
