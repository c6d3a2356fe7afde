"""Describe the machine of a benchmark."""

from __future__ import annotations

import platform
import sys
from importlib import metadata
from pathlib import Path

import psutil

from tasks.engine.planning.sizing import read_host


def describe_machine() -> str:
    """Return processor, cores, memory and versions in one line."""
    host = read_host()
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("prefect", "distributed", "av"))
    return f"{_read_processor()}, {host.cores:g} cores, {memory:.0f} GiB, Python {sys.version.split()[0]}, {versions}"


def _read_processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
