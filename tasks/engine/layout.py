"""Where everything lies in an output folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one output folder. See ``docs/outputs.md``."""

    output_dir: Path

    @property
    def house(self) -> Path:
        """The engine's own folder."""
        return self.output_dir / ".headrace"

    @property
    def lock(self) -> Path:
        """Held by the run that is at work."""
        return self.house / "lock"

    def records(self, stage: str) -> Path:
        """Records of done items, ``<id>.json``, and ``<id>.stale``: files that an item in the making may have."""
        return self.house / "records" / stage

    def failures(self, stage: str) -> Path:
        """What is known of the items that failed last time, ``<id>.json``."""
        return self.house / "failures" / stage

    def log(self, stage: str, item_id: str) -> Path:
        """What a failed item's process wrote to its standard output and error."""
        return self.house / "logs" / stage / f"{item_id}.log"

    @property
    def private(self) -> Path:
        """Private folders of the items that run now, ``<run id>/...``."""
        return self.house / "private"

    @property
    def runs(self) -> Path:
        """One file of one line a run."""
        return self.house / "runs"

    def relative(self, path: Path) -> str:
        """``path`` as seen from the output folder, with forward slashes."""
        return path.relative_to(self.output_dir).as_posix()


def remove_output(layout: Layout, path: str) -> None:
    """Remove a published file, and the folders that it leaves empty. ``path`` is relative to the output folder.

    A path that leads out of it, which no stage can have published, is left alone.
    """
    if os.path.isabs(path) or ".." in Path(path).parts:
        return
    target = layout.output_dir / path
    target.unlink(missing_ok=True)
    for folder in target.relative_to(layout.output_dir).parents:
        try:
            (layout.output_dir / folder).rmdir()
        except OSError:  # not empty, or the output folder itself
            return
