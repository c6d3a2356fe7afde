"""Kill a run between the stages of a graph: the next run ends with the results of an undisturbed one.

The kills hit publishing of a whole's last part, the removal of parts, the dropping of downloads, and all in between.
"""

import pytest

from tests.engine.graph_kills import kill_at, run_undisturbed
from tests.engine.injection import create_fast_folder

MAX_KILLS = 40  # of each graph; `make chaos` kills at every change


@pytest.mark.parametrize("tapes", ["x", "xz"], ids=["all done", "one tape fails"])
def test_run_killed_in_a_graph_is_continued(tapes: str) -> None:
    with create_fast_folder() as work:
        reference = run_undisturbed(work, tapes)
        steps = range(1, reference.changes + 1, max(1, reference.changes // MAX_KILLS) | 1)
        problems = [problem for step in steps for problem in kill_at(work, reference, step)]
    assert problems == []
