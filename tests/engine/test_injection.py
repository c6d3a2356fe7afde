"""One system call fails, or the process dies at it: an item is done or not done, and the next run completes.

Every call of every scenario takes part, each with one error of four; ``make chaos`` takes each with all of them.
"""

import pytest

from tests.engine.injection import disturb, points, quick_folder, undisturbed
from tests.engine.scenarios import SCENARIOS

MAX_POINTS = 40  # of a scenario


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_call_that_fails_leaves_each_item_done_or_not_done(scenario: str, tracer: None) -> None:
    with quick_folder() as folder:
        calls, peace = undisturbed(scenario, folder)
        every = list(points(scenario, calls))
        assert len(every) >= 10
        step = max(1, len(every) // MAX_POINTS) | 1  # odd, so that it meets all of four errors
        problems = [problem for point in every[::step] for problem in disturb(point, peace, folder / "disturbed")]
    assert problems == []
