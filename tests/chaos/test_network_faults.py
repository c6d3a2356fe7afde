"""Each process of a run is on a machine of its own; cables are slow or cut, machines join and lose their power.

``make chaos`` runs more scenarios.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.network import find_slow_obstacle
from tests.chaos.network_faults import disturb, run_quick
from tests.runs.bench import Bench


def test_run_survives_slow_and_cut_cables_and_a_power_cut(
    bench: Bench, make_home: Callable[[Path], Path], tmp_path: Path
) -> None:
    if obstacle := find_slow_obstacle():
        pytest.skip(obstacle)
    disturb(run_quick, bench, make_home(tmp_path / "server-home"))
