"""What the tests of the light curves share.

stars  the folder of real light curves, whose planets are in its truth.csv
"""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def stars(shared_data: Path) -> Path:
    return shared_data / "lightcurves"
