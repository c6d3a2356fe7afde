"""Fixtures for the tests of light curves.

Importing transitleastsquares compiles code. Two processes that collect its tests on a machine with an empty numba cache
would corrupt the cache for each other and crash its users. So one process compiles all code before the first import of
these modules, while the others wait.

stars  the folder of real light curves, whose planets are in its truth.csv
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.transits.kernels import compile_once

compile_once()


@pytest.fixture(scope="session")
def stars(shared_data: Path) -> Path:
    return shared_data / "lightcurves"
