"""Splits: parsing, and assignments without leaks that never change."""

import random
from collections import Counter, defaultdict

import pytest

from tasks.frames.manifest import Sample
from tasks.frames.splits import assign_splits, parse_splits, plan_splits

NINE_TO_ONE, _ = parse_splits("train=0.9,val=0.1")


def create_samples(videos, samples_per_video=3):
    return [
        Sample(f"{v}-{n}", f"v{v}.mp4", (), {"scene": f"scene {v // 4}", "take": n}, f"row {v}")
        for v in range(videos)
        for n in range(samples_per_video)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "train=0.9,val=0.1",
        " train = 0.9 , val = 0.1 ",
        "a=0.333,b=0.333,c=0.334",
        "a=0.3333333,b=0.3333333,c=0.3333333",
        "t=1",
    ],
)
def test_shares_that_sum_to_one_are_parsed(text):
    splits, problems = parse_splits(text)
    assert problems == []
    assert [split.name for split in splits] == [part.split("=")[0].strip() for part in text.split(",")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train=0.9,val=0.2", "add up to 1.1"),
        ("train=0.5", "add up to 0.5"),
        ("train=9,val=1", "a share above 0, at most 1"),
        ("train=-0.1,val=1.1", "train=-0.1"),
        ("train=0,val=1", "train=0"),
        ("train=nan,val=1", "train=nan"),
        ("train=inf", "train=inf"),
        ("train=many,val=1", "train=many"),
        ("train=0.5,train=0.5", "'train' more than once"),
        ("train", "'train'"),
        ("train=0.9,", "''"),
        ("=1", "the name ''"),
        ("../up=1", "the name '../up'"),
        ("a-b=1", "the name 'a-b'"),
        ("all=1", "the name 'all'"),
        (f"{'x' * 41}=1", "the name 'xxx"),
    ],
)
def test_invalid_shares_and_names_are_problems(text, message):
    assert message in "\n".join(map(str, parse_splits(text)[1]))


def test_all_problems_of_the_option_are_listed():
    assert len(parse_splits("a-b=0.5,train=2,val,test=0.1,test=0.1")[1]) == 4


def test_without_splits_all_samples_are_train():
    assert parse_splits(None) == ((), [])
    assert set(assign_splits(create_samples(5), ())[0].values()) == {"train"}


def test_samples_of_one_video_share_a_split():
    chosen, problems = assign_splits(create_samples(200), NINE_TO_ONE)
    assert problems == []
    by_video = defaultdict(set)
    for sample in create_samples(200):
        by_video[sample.video].add(chosen[sample.id])
    assert all(len(splits) == 1 for splits in by_video.values())


def test_samples_of_one_group_share_a_split():
    samples = create_samples(200)
    chosen, problems = assign_splits(samples, NINE_TO_ONE, "scene")
    assert problems == []
    by_scene = defaultdict(set)
    for sample in samples:
        by_scene[sample.fields["scene"]].add(chosen[sample.id])
    assert all(len(splits) == 1 for splits in by_scene.values())
    assert {split for splits in by_scene.values() for split in splits} == {"train", "val"}


def test_many_groups_meet_the_shares():
    splits, _ = parse_splits("train=0.8,val=0.15,test=0.05")
    counts = Counter(assign_splits(create_samples(5000, 1), splits)[0].values())
    assert counts["train"] == pytest.approx(4000, rel=0.05)
    assert counts["val"] == pytest.approx(750, rel=0.15)
    assert counts["test"] == pytest.approx(250, rel=0.25)


def test_assignment_does_not_depend_on_other_samples_or_order():
    samples = create_samples(300)
    before, _ = assign_splits(samples[:300], NINE_TO_ONE)
    random.Random(1).shuffle(samples)
    after, _ = assign_splits(samples, tuple(reversed(NINE_TO_ONE)))
    assert all(after[sample_id] == split for sample_id, split in before.items())


def test_assignment_never_changes_between_versions():
    chosen, _ = assign_splits([Sample(str(n), f"video {n}") for n in range(40)], NINE_TO_ONE)
    assert sorted(int(sample_id) for sample_id, split in chosen.items() if split == "val") == [38]


def test_groups_are_the_same_from_csv_and_from_typed_tables():
    splits, _ = parse_splits("a=0.5,b=0.5")
    typed, _ = assign_splits([Sample(str(n), "v", (), {"take": n}) for n in range(50)], splits, "take")
    text, _ = assign_splits([Sample(str(n), "v", (), {"take": str(n)}) for n in range(50)], splits, "take")
    assert typed == text
    assert set(typed.values()) == {"a", "b"}


def test_missing_or_empty_group_is_a_problem():
    samples = [
        Sample("1", "v", (), {"scene": "x"}, "row 1"),
        Sample("2", "v", (), {"scene": ""}, "row 2"),
        Sample("3", "v"),
    ]
    chosen, problems = assign_splits(samples, NINE_TO_ONE, "scene")
    assert list(chosen) == ["1"]
    assert [problem.where for problem in problems] == ["row 2, scene", "3, scene"]


def test_unknown_group_column_is_one_problem_that_lists_the_columns():
    _, problems = assign_splits(create_samples(50), NINE_TO_ONE, "place")
    message = "--group-by: no column 'place'; allowed: id, video_path, scene, take"
    assert [str(problem).startswith(message) for problem in problems] == [True]


def test_unknown_group_column_is_a_problem_without_splits_too():
    _, (problem,) = assign_splits(create_samples(2), (), "place")
    assert str(problem).startswith("--group-by: no column 'place'; allowed: id, video_path, scene, take")


def test_split_column_of_the_manifest_is_kept():
    samples = [Sample("1", "v", (), {"split": "test"}), Sample("2", "w", (), {"split": "train"})]
    assert assign_splits(samples, ()) == ({"1": "test", "2": "train"}, [])
    assert "one of the two" in str(assign_splits(samples, NINE_TO_ONE)[1][0])
    assert "names of letters" in str(assign_splits([*samples, Sample("3", "x")], ())[1][0])


def test_group_by_id_splits_a_video():
    chosen, _ = assign_splits([Sample(f"q{n}", "v.mp4") for n in range(100)], NINE_TO_ONE, "id")
    assert set(chosen.values()) == {"train", "val"}


def test_splits_that_differ_only_in_case_are_a_problem():
    """Reject them: on many disks, their files would overwrite each other."""
    _, problems = parse_splits("train=0.5,Train=0.5")
    assert ["'train' and 'Train', which differ only in case" in str(problem) for problem in problems] == [True]
    samples = [Sample("1", "v", (), {"split": "test"}), Sample("2", "w", (), {"split": "Test"})]
    assert "'test' and 'Test', which differ only in case" in str(assign_splits(samples, ())[1][0])


def test_first_folder_of_a_video_can_be_its_split():
    samples = [Sample("a", "train/x/1.mp4"), Sample("b", "test/y/2.mp4")]
    plan, problems = plan_splits(samples, " folder ", None)
    assert problems == []
    assert plan.assign(samples, {}) == {"a": "train", "b": "test"}
    _, problems = plan_splits([*samples, Sample("c", "3.mp4"), Sample("d", "all/4.mp4")], "folder", "x")
    assert len(problems) == 3


def test_near_duplicates_share_the_split_of_their_representative():
    samples = create_samples(40, 1)
    plan, problems = plan_splits(samples, "train=0.5,val=0.5", "content")
    assert problems == []
    alone = plan.assign(samples, {})
    assert alone == plan.split_of == assign_splits(samples, parse_splits("train=0.5,val=0.5")[0])[0]
    together = plan.assign(samples, {f"v{number}.mp4": "v3.mp4" for number in range(20)})
    assert {together[f"{number}-0"] for number in range(20)} == {alone["3-0"]}
    assert [together[f"{number}-0"] for number in range(20, 40)] == [alone[f"{number}-0"] for number in range(20, 40)]


def test_group_by_content_needs_shares_and_no_such_column():
    samples = [Sample("a", "1.mp4", (), {"content": "x"})]
    assert "given without shares" in str(plan_splits(samples[:0], None, "content")[1][0])
    assert "also names a column" in str(plan_splits(samples, "a=1", "content")[1][0])
