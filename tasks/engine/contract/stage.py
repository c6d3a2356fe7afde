"""What a stage is, and what it is given and gives back."""

from __future__ import annotations

import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from tasks.engine.contract.items import Item

Scalar = bool | int | float | str | None
Value = Scalar | list[str] | list[float]


@dataclass(frozen=True)
class StageResult:
    """What a stage says of a finished item, beside the files that it wrote.

    values  flat columns of ``items.parquet``; the same names for every item of a stage, none that every row has
    detail  anything JSON can hold, kept in the record alone, for the stages that come after
    """

    values: Mapping[str, Value] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Workspace:
    """The private folder of one item while it runs.

    A file written at ``output("a/b.jpg")`` is published as ``OUTPUT_DIR/a/b.jpg`` when the item is done, and never
    before. ``scratch`` is thrown away. ``output_dir`` is for reading what earlier stages published.
    """

    outputs: Path
    scratch: Path
    output_dir: Path
    staged: Mapping[str, str] = field(default_factory=dict)

    def output(self, relative: str) -> Path:
        """Where to write the output that is to be published at ``relative``; its folder is made."""
        parts = PurePosixPath(relative)
        if parts.is_absolute() or ".." in parts.parts:
            raise ValueError(f"an output path must stay in the output folder: {relative!r}")
        path = self.outputs / parts
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def input(self, path: str) -> Path:
        """Where to read the input ``path``: itself, or its copy on local scratch under ``--stage-inputs``."""
        return Path(self.staged.get(path, path))


def published_file(output_dir: Path, path: str) -> Path:
    """Return the path of a file that a record says is published at ``path`` in ``output_dir``.

    Raises PermissionError if ``path`` leads out of the folder, by its parts or by a symlink: records may be forged.
    """
    root, target = os.path.realpath(output_dir), os.path.realpath(os.path.join(output_dir, path))
    if os.path.isabs(path) or os.path.commonpath([root, target]) != root:
        raise PermissionError(errno.EPERM, "leads out of the output folder", path)
    return output_dir / path


@dataclass(frozen=True)
class Needs:
    """What a stage's items ask of the host.

    memory_bytes  of one item, the child's own memory included
    most_slots    no more run at a time, since each has something of its own, such as a graphics card; None for no bound
    """

    memory_bytes: int
    most_slots: int | None = None


class NoParams(BaseModel):
    """For stages whose results depend on nothing but their items."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Stage(ABC):
    """Turns one item into files and values. Lives in a child process; pickled to get there.

    ``version`` is raised whenever the results change. ``params`` holds the result-relevant parameters and nothing
    else: all of it enters the key. ``memory_bytes`` is what one item is expected to need, the child's own memory
    included, and ``timeout_seconds`` how long one item may take where the user says nothing. ``packages`` names the
    distributions whose versions belong into the summary.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    memory_bytes: ClassVar[int] = 256 * 2**20
    timeout_seconds: ClassVar[float] = 600.0
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: BaseModel) -> None:
        self.params = params

    def needs(self) -> Needs:
        """What one item asks of the host, where that depends on more than the class."""
        return Needs(self.memory_bytes)

    def model_digests(self) -> Mapping[str, str]:
        """sha256 of every model file that the results depend on, by name."""
        return {}

    def open(self) -> None:
        """Build the warm state (a graph, a compiled kernel). Called once in each child, before its first item."""

    @abstractmethod
    def run(self, item: Item, work: Workspace) -> StageResult:
        """Do one item. Raises BadInput, TransientError, or anything else, which counts as ``error``."""
