"""The three releases of PHOENIX-Weather 2014, complete and trimmed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.landmarks.samples import Collection, Sample, read_collection

MULTISIGNER = "phoenix2014-release/phoenix-2014-multisigner"
SI5 = "phoenix2014-release/phoenix-2014-signerindependent-SI5"
TRANSLATION = "PHOENIX-2014-T-release-v3/PHOENIX-2014-T"
FIRST = "01April_2010_Thursday_heute_default-1"
SECOND = "01April_2010_Thursday_heute_default-2"
# One line each, in the format of the corpora.
LINE_2014 = f"{FIRST}|{FIRST}/1/*.png|Signer04|ICH OSTERN WETTER ZUFRIEDEN MITTAG TEMPERATUR  SUED WARM MEIN NICHT"
LINE_2014T = f"{FIRST}|{FIRST}/1/*.png|-1|-1|Signer08|DRUCK TIEF KOMMEN|tiefer luftdruck in den nächsten tagen"

MakeRelease = Callable[..., Any]


def read(path: Path, **options: Any) -> Collection:
    collection, problems = read_collection(path, **options)
    assert not problems
    assert collection is not None
    return collection


def read_problems(path: Path, **options: Any) -> str:
    collection, problems = read_collection(path, **options)
    assert collection is None
    return "\n".join(map(str, problems))


def get_only_sample(collection: Collection) -> Sample:
    (sample,) = collection.samples
    return sample


def test_release_2014(release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    corpus.add_sample("train", FIRST, images=3)
    corpus.write_table("train", [LINE_2014])
    collection = read(corpus.root)
    sample = get_only_sample(collection)
    assert collection.layout == "phoenix"
    assert (sample.id, sample.split, sample.name) == (f"train.{FIRST}", "train", FIRST)
    assert sample.path == f"{MULTISIGNER}/features/fullFrame-210x260px/train/{FIRST}/1"
    assert (sample.media, sample.fps, sample.cost) == ("frames", 25.0, 3.0)
    assert sample.annotation == "ICH OSTERN WETTER ZUFRIEDEN MITTAG TEMPERATUR  SUED WARM MEIN NICHT"
    assert sample.fields == {"signer": "Signer04"}


def test_release_2014t_ignores_the_folder_in_its_table(release: MakeRelease) -> None:
    """Read a table whose ``video`` column names ``<name>/1/*.png``; the images are directly in ``<name>``."""
    corpus = release(TRANSLATION)
    corpus.add_sample("dev", FIRST)
    corpus.write_table("dev", [LINE_2014T])
    sample = get_only_sample(read(corpus.root))
    assert sample.path == f"{TRANSLATION}/features/fullFrame-210x260px/dev/{FIRST}"
    assert sample.annotation == "DRUCK TIEF KOMMEN"
    assert sample.fields == {
        "start": "-1",
        "end": "-1",
        "speaker": "Signer08",
        "translation": "tiefer luftdruck in den nächsten tagen",
    }


def test_release_si5(release: MakeRelease) -> None:
    corpus = release(SI5)
    corpus.add_sample("test", FIRST)
    corpus.write_table("test", [LINE_2014])
    assert get_only_sample(read(corpus.root)).annotation is not None


@pytest.mark.parametrize(
    "below",
    ["", "phoenix2014-release", MULTISIGNER, f"{MULTISIGNER}/features"],
    ids=["all", "root", "inner", "features"],
)
def test_input_may_be_any_folder_of_the_release(below: str, release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    corpus.add_sample("train", FIRST)
    corpus.write_table("train", [LINE_2014])
    sample = get_only_sample(read(corpus.root / below))
    assert sample.annotation is not None
    assert (corpus.root / below / sample.path).is_dir()


def test_folder_of_one_image_size(release: MakeRelease) -> None:
    corpus = release(MULTISIGNER, frames="features/fullFrame-227x227px")
    corpus.add_sample("train", FIRST)
    corpus.write_table("train", [LINE_2014])
    sample = get_only_sample(read(corpus.path / "features" / "fullFrame-227x227px"))
    assert sample.path == f"train/{FIRST}/1"
    assert sample.annotation is not None


def test_splits_next_to_the_tables(release: MakeRelease) -> None:
    corpus = release(TRANSLATION, frames=".")
    corpus.add_sample("train", FIRST)
    corpus.write_table("train", [LINE_2014T])
    assert get_only_sample(read(corpus.path)).annotation == "DRUCK TIEF KOMMEN"


def test_two_image_sizes_are_a_problem(release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    corpus.add_sample("train", FIRST)
    release(MULTISIGNER, frames="features/fullFrame-256x256px").add_sample("train", FIRST)
    message = read_problems(corpus.root)
    assert "fullFrame-210x260px" in message
    assert "fullFrame-256x256px" in message
    assert "use one of them as --input" in message


def test_two_releases_are_a_problem(release: MakeRelease) -> None:
    for folder in (MULTISIGNER, SI5):
        release(folder).add_sample("train", FIRST)
    assert "use one of them as --input" in read_problems(release().root)


def test_sample_without_its_folder_is_a_problem(release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    corpus.add_sample("train", FIRST)
    corpus.write_table("train", [LINE_2014, LINE_2014.replace(FIRST, SECOND)])
    message = read_problems(corpus.root)
    assert "train.corpus.csv line 3" in message
    assert f"{SECOND}' has no folder" in message


def test_many_missing_folders_give_a_short_list_of_problems(release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    corpus.add_sample("train", FIRST)
    corpus.write_table("train", [LINE_2014, *(LINE_2014.replace(FIRST, f"gone-{number}") for number in range(300))])
    _, problems = read_collection(corpus.root)
    assert len(problems) == 21
    assert "280 more like it" in str(problems[-1])


def test_folder_that_is_not_in_the_table_is_skipped(release: MakeRelease) -> None:
    corpus = release(SI5)
    for name in (FIRST, SECOND):
        corpus.add_sample("train", name)
    corpus.write_table("train", [LINE_2014])
    collection = read(corpus.root)
    assert get_only_sample(collection).name == FIRST
    assert collection.notes == ("train: skipped 1 folder that train.SI5.corpus.csv does not list",)


def test_without_tables_all_folders_are_samples(release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    for name in (SECOND, FIRST):
        corpus.add_sample("dev", name)
    collection = read(corpus.root)
    assert [sample.name for sample in collection.samples] == [FIRST, SECOND]
    assert [sample.annotation for sample in collection.samples] == [None, None]
    assert collection.notes == ("dev: no corpus table, so its samples have no annotation",)


def test_missing_split_is_skipped(release: MakeRelease) -> None:
    """Read a release with the tables of all splits but the folder of one."""
    corpus = release(TRANSLATION)
    corpus.add_sample("test", FIRST)
    for split in ("train", "dev", "test"):
        corpus.write_table(split, [LINE_2014T])
    assert get_only_sample(read(corpus.root)).split == "test"
    message = read_problems(corpus.root, split="train")
    assert "--split: 'train'; allowed: all, test" in message


def test_split_option_reads_no_other_split(release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    for split in ("train", "dev"):
        corpus.add_sample(split, FIRST)
    corpus.write_table("train", ["gone|gone/1/*.png|Signer01|REGEN"])
    corpus.write_table("dev", [LINE_2014])
    assert get_only_sample(read(corpus.root, split="dev")).id == f"dev.{FIRST}"


def test_sample_without_images_is_kept(release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    corpus.add_sample("train", FIRST, images=0)
    corpus.write_table("train", [LINE_2014])
    assert get_only_sample(read(corpus.root)).path.endswith(f"{FIRST}/1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the header ''"),
        ("id,folder,signer,annotation\na,a,b,c\n", "the header 'id,folder,signer,annotation'"),
        ("id|folder|signer|annotation\na|b\n", "2 cells; allowed: 4"),
        (f"id|folder|signer|annotation\n{LINE_2014}\n{LINE_2014}\n", "again, first in train.corpus.csv line 2"),
    ],
    ids=["empty", "commas", "short line", "duplicate sample"],
)
def test_malformed_tables_are_problems(text: str, message: str, release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    corpus.add_sample("train", FIRST)
    corpus.write_table("train", []).write_text(text)
    assert message in read_problems(corpus.root)


def test_table_of_unbounded_size_is_a_problem(release: MakeRelease) -> None:
    corpus = release(TRANSLATION)
    corpus.add_sample("train", FIRST)
    os.truncate(corpus.write_table("train", []), 1 << 40)
    assert "larger than 256 MiB" in read_problems(corpus.root)


def test_table_that_is_not_utf8_is_a_problem(release: MakeRelease) -> None:
    corpus = release(TRANSLATION)
    corpus.add_sample("train", FIRST)
    corpus.write_table("train", []).write_bytes(LINE_2014T.encode("latin-1"))
    assert "a corpus table in UTF-8" in read_problems(corpus.root)


def test_table_with_crlf_quotes_and_blank_lines(release: MakeRelease) -> None:
    corpus = release(TRANSLATION)
    corpus.add_sample("train", FIRST)
    text = corpus.write_table("train", [LINE_2014T.replace("tiefer", 'ein "tiefer'), "", ""]).read_text(
        encoding="utf-8"
    )
    corpus.write_table("train", []).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert get_only_sample(read(corpus.root)).fields["translation"] == 'ein "tiefer luftdruck in den nächsten tagen'


def test_two_tables_for_one_split_are_a_problem(release: MakeRelease) -> None:
    corpus = release(MULTISIGNER)
    corpus.add_sample("train", FIRST)
    corpus.write_table("train", [LINE_2014])
    corpus.write_table("train", [LINE_2014], name="train.SI5.corpus.csv")
    assert "one corpus table" in read_problems(corpus.root)


def test_layout_phoenix_without_phoenix_is_a_problem(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    write_image(tmp_path / "a" / "1.png")
    assert "no splits of PHOENIX" in read_problems(tmp_path, layout="phoenix")
