"""The interface of a stage: its input, its workspace and its result."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from tasks.engine.contract.items import Item
from tasks.stores.published import fetch_published

Lane = Literal["cpu", "io", "device"]
LANES: tuple[Lane, ...] = ("io", "device", "cpu")
Scalar = bool | int | float | str | None
Value = Scalar | list[str] | list[float]


@dataclass(frozen=True)
class StageResult:
    """The result of a finished item, in addition to the files that it wrote.

    values  columns of ``items.parquet``: the same names for every item of a stage, different from the common columns
    detail  any JSON value; stored in the record only, for later stages
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Workspace:
    """The private folder of one item while it runs.

    A file written at ``output("a/b.jpg")`` is published as ``OUTPUT_DIR/a/b.jpg`` when the item is done, and never
    before. ``scratch`` is removed afterwards. ``output_dir`` is for reading the files of earlier stages.
    """

    outputs: Path
    scratch: Path
    output_dir: Path
    staged: Mapping[str, str] = field(default_factory=dict)

    def output(self, relative: str) -> Path:
        """Return the path for writing the output ``relative``; create its folder. Raises ValueError for ``..``."""
        parts = PurePosixPath(relative)
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError(f"an output path must stay in the output folder: {relative!r}")
        path = self.outputs / parts
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def input(self, path: str) -> Path:
        """Return the path for reading the input ``path``: with ``--stage-inputs``, its copy on local scratch."""
        return Path(self.staged.get(path, path))


def get_published_file(output_dir: Path, path: str) -> Path:
    """Return the absolute path of a published file whose relative path comes from a record.

    If the output folder is in a store, the file is downloaded into its local work folder first. Raises PermissionError
    if ``path`` points outside ``output_dir``, by ``..`` or by a symlink: records may be forged.
    """
    root, target = os.path.realpath(output_dir), os.path.realpath(os.path.join(output_dir, path))
    if os.path.isabs(path) or os.path.commonpath([root, target]) != root:
        raise PermissionError(errno.EPERM, "leads out of the output folder", path)
    fetch_published(output_dir, path)
    return output_dir / path


@dataclass(frozen=True)
class Needs:
    """The resources that one item of a stage needs.

    memory_bytes  memory of one item, including that of the child process
    max_slots     limit on concurrent items, for example the number of graphics cards: the items are in the lane
                  ``device``, and each has a device of its own; None for no limit. On a cluster, the devices of each
                  worker count instead
    """

    memory_bytes: int
    max_slots: int | None = None


class NoParams(BaseModel):
    """The parameters of a stage whose results depend on its items only."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(ABC):
    """Turns one item into files and values. It is pickled and runs in a child process.

    name             identifies the stage in records and reports
    version          must be increased whenever the results change
    params           the parameters that affect results, and no others: all of them are part of the key
    lane             what its items occupy: a core (``cpu``), or only a connection (``io``), such as downloads
    memory_bytes     expected memory of one item, including that of the child process
    timeout_seconds  default time limit per item
    packages         distributions whose versions are listed in the summary
    max_failing      how many different items may fail with TransientError, with no other outcome between them, before
                     the run stops: the service that all of them need is down (default: no limit)
    hides_devices    in the process of an item that needs a device, CUDA shows that device only, as number 0
    """

    name: ClassVar[str]
    version: ClassVar[int]
    lane: ClassVar[Lane] = "cpu"
    memory_bytes: ClassVar[int] = 256 * 2**20
    timeout_seconds: ClassVar[float] = 600.0
    packages: ClassVar[tuple[str, ...]] = ()
    max_failing: ClassVar[int | None] = None
    hides_devices: ClassVar[bool] = True

    def __init__(self, params: BaseModel) -> None:
        self.params = params

    def needs(self) -> Needs:
        """Return the needs of one item. Override it if they depend on the parameters."""
        return Needs(self.memory_bytes)

    def count_devices(self) -> int | None:
        """Return the number of this machine's devices that items can use; called on each worker of a cluster.

        None means all devices of NVIDIA, or those that HEADRACE_DEVICES names.
        """
        return None

    def model_digests(self) -> Mapping[str, str]:
        """Return the sha256 of every model file that affects the results, by name."""
        return {}

    def preload(self) -> None:
        """Import what :meth:`open` needs, if that takes long. Called in the process from which children are forked.

        It must not start a thread. If it fails, children start without that process: ``open`` must do the same.
        """

    def open(self) -> None:
        """Load models or compile kernels. Called once in each child process, before its first item."""

    @abstractmethod
    def run(self, item: Item, work: Workspace) -> StageResult:
        """Process one item. Raises BadInput, TransientError, or any other exception, which counts as ``error``."""
