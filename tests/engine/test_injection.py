"""Make one system call fail, or kill the process at it: an item is done or not done, and the next run completes.

Every call of every scenario is tested with one of four errors; ``make chaos`` tests each with all of them.
"""

import pytest

from tests.engine.injection import create_fast_folder, inject, list_points, run_undisturbed
from tests.engine.scenarios import SCENARIOS

MAX_POINTS = 40  # per scenario


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_failed_system_call_leaves_each_item_done_or_not_done(scenario: str, tracer: None) -> None:
    with create_fast_folder() as folder:
        calls, expected = run_undisturbed(scenario, folder)
        all_points = list(list_points(scenario, calls))
        assert len(all_points) >= 10
        step = max(1, len(all_points) // MAX_POINTS) | 1  # odd, so that all four errors occur
        problems = [
            problem for point in all_points[::step] for problem in inject(point, expected, folder / "disturbed")
        ]
    assert problems == []
