"""The origin of a dataset, for its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from tasks.frames.manifest import Sample
from tasks.frames.params import FramesParams

_OPTIONS = ("splits", "group_by", "labels", "start", "end")


def describe_provenance(values: Mapping[str, Any], frames: FramesParams, samples: Sequence[Sample]) -> dict[str, Any]:
    """Return the program, the source and the options that differ from their defaults; ``values`` are the flow's."""
    source = values["manifest"] or values["videos_dir"]
    options = {name: values[name] for name in _OPTIONS if values[name] not in (None, "none")}
    return {
        "generator": f"Headrace {_read_version()}".rstrip(),
        "source": source.absolute().name,
        "samples": len(samples),
        "videos": len({sample.video for sample in samples}),
        "options": {**frames.model_dump(mode="json", exclude_defaults=True), **options},
    }


def _read_version() -> str:
    """Return the installed version; empty if the project is not installed."""
    try:
        return metadata.version("headrace")
    except metadata.PackageNotFoundError:
        return ""
