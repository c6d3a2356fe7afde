"""What the tests of the light curves share.

Test modules import transitleastsquares, which compiles as it is imported: two processes that collect them on a machine
where nothing is compiled yet would spoil numba's cache for each other, and crash whoever loads it. So all is compiled
before the first of them is imported, by one process while the others wait.

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
