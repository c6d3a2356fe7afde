"""Find items of an output folder by id, name or path; refuse a word that matches several items."""

from __future__ import annotations

import pytest

from tasks.engine.contract.errors import InvalidInput
from tasks.engine.maintenance import Entry
from tasks.launcher.item_search import Catalog, Label, find_ids

LABELS = {
    "intro-1f": Label("Intro (1).mp4", "season 1/Intro (1).mp4"),
    "intro-2a": Label("Intro (1).mp4", "season 2/Intro (1).mp4"),
    "outro": Label("outro.mp4", "season 2/outro.mp4"),
    "unfinished": Label("unfinished.mp4", "unfinished.mp4"),
}
CATALOG = Catalog([Entry("frames", "unnamed", None, None)], LABELS, {"q1": {"outro"}, "q2": {"intro-1f", "outro"}})


@pytest.mark.parametrize(
    ("word", "item_id"),
    [
        ("outro", "outro"),
        ("unnamed", "unnamed"),
        ("outro.mp4", "outro"),
        ("season 1/Intro (1).mp4", "intro-1f"),
        ("/data/videos/season 2/Intro (1).mp4", "intro-2a"),
        ("videos/season 2/outro.mp4", "outro"),
        ("unfinished.mp4", "unfinished"),
        ("q1", "outro"),
    ],
)
def test_item_is_found_by_id_name_and_path(word: str, item_id: str) -> None:
    assert find_ids([word, word], CATALOG) == [item_id]


@pytest.mark.parametrize(
    ("word", "given"),
    [
        ("Intro (1).mp4", "2 items: intro-1f, intro-2a"),
        ("Intro", "no such item"),
        ("tro.mp4", "no such item"),
        ("", "no such item"),
        ("q2", "2 items: intro-1f, outro"),
    ],
)
def test_unclear_word_is_refused(word: str, given: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        find_ids(["outro", word], CATALOG)
    assert [(problem.where, problem.given) for problem in caught.value.problems] == [(word, given)]
