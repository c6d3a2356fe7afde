"""The three releases of PHOENIX-Weather 2014, as they are unpacked and as people trim them."""

from __future__ import annotations

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
# A line each, as in the corpora.
LINE_2014 = f"{FIRST}|{FIRST}/1/*.png|Signer04|ICH OSTERN WETTER ZUFRIEDEN MITTAG TEMPERATUR  SUED WARM MEIN NICHT"
LINE_2014T = f"{FIRST}|{FIRST}/1/*.png|-1|-1|Signer08|DRUCK TIEF KOMMEN|tiefer luftdruck in den nächsten tagen"

MakeRelease = Callable[..., Any]


def read(path: Path, **options: Any) -> Collection:
    collection, problems = read_collection(path, **options)
    assert not problems
    assert collection is not None
    return collection


def refused(path: Path, **options: Any) -> str:
    collection, problems = read_collection(path, **options)
    assert collection is None
    return "\n".join(map(str, problems))


def only(collection: Collection) -> Sample:
    (sample,) = collection.samples
    return sample


def test_2014(release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    made.add_sample("train", FIRST, images=3)
    made.write_table("train", [LINE_2014])
    collection = read(made.root)
    sample = only(collection)
    assert collection.layout == "phoenix"
    assert (sample.id, sample.split, sample.name) == (f"train.{FIRST}", "train", FIRST)
    assert sample.path == f"{MULTISIGNER}/features/fullFrame-210x260px/train/{FIRST}/1"
    assert (sample.media, sample.fps, sample.cost) == ("frames", 25.0, 3.0)
    assert sample.annotation == "ICH OSTERN WETTER ZUFRIEDEN MITTAG TEMPERATUR  SUED WARM MEIN NICHT"
    assert sample.fields == {"signer": "Signer04"}


def test_2014t_whose_table_names_a_folder_that_is_not_there(release: MakeRelease) -> None:
    """Its ``video`` column says ``<name>/1/*.png``; the pictures lie right in ``<name>``."""
    made = release(TRANSLATION)
    made.add_sample("dev", FIRST)
    made.write_table("dev", [LINE_2014T])
    sample = only(read(made.root))
    assert sample.path == f"{TRANSLATION}/features/fullFrame-210x260px/dev/{FIRST}"
    assert sample.annotation == "DRUCK TIEF KOMMEN"
    assert sample.fields == {
        "start": "-1",
        "end": "-1",
        "speaker": "Signer08",
        "translation": "tiefer luftdruck in den nächsten tagen",
    }


def test_si5(release: MakeRelease) -> None:
    made = release(SI5)
    made.add_sample("test", FIRST)
    made.write_table("test", [LINE_2014])
    assert only(read(made.root)).annotation is not None


@pytest.mark.parametrize(
    "below",
    ["", "phoenix2014-release", MULTISIGNER, f"{MULTISIGNER}/features"],
    ids=["all", "root", "inner", "features"],
)
def test_where_input_may_point(below: str, release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    made.add_sample("train", FIRST)
    made.write_table("train", [LINE_2014])
    sample = only(read(made.root / below))
    assert sample.annotation is not None
    assert (made.root / below / sample.path).is_dir()


def test_the_folder_of_one_picture_size(release: MakeRelease) -> None:
    made = release(MULTISIGNER, frames="features/fullFrame-227x227px")
    made.add_sample("train", FIRST)
    made.write_table("train", [LINE_2014])
    sample = only(read(made.path / "features" / "fullFrame-227x227px"))
    assert sample.path == f"train/{FIRST}/1"
    assert sample.annotation is not None


def test_splits_moved_up_beside_the_tables(release: MakeRelease) -> None:
    made = release(TRANSLATION, frames=".")
    made.add_sample("train", FIRST)
    made.write_table("train", [LINE_2014T])
    assert only(read(made.path)).annotation == "DRUCK TIEF KOMMEN"


def test_two_picture_sizes(release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    made.add_sample("train", FIRST)
    release(MULTISIGNER, frames="features/fullFrame-256x256px").add_sample("train", FIRST)
    message = refused(made.root)
    assert "fullFrame-210x260px" in message
    assert "fullFrame-256x256px" in message
    assert "give one of them as --input" in message


def test_two_releases_side_by_side(release: MakeRelease) -> None:
    for folder in (MULTISIGNER, SI5):
        release(folder).add_sample("train", FIRST)
    assert "give one of them as --input" in refused(release().root)


def test_a_sample_without_its_folder(release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    made.add_sample("train", FIRST)
    made.write_table("train", [LINE_2014, LINE_2014.replace(FIRST, SECOND)])
    message = refused(made.root)
    assert "train.corpus.csv line 3" in message
    assert f"{SECOND}' has no folder" in message


def test_many_samples_without_their_folders(release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    made.add_sample("train", FIRST)
    made.write_table("train", [LINE_2014, *(LINE_2014.replace(FIRST, f"gone-{number}") for number in range(300))])
    _, problems = read_collection(made.root)
    assert len(problems) == 21
    assert "280 more like it" in str(problems[-1])


def test_a_folder_that_the_table_does_not_name_is_no_sample(release: MakeRelease) -> None:
    made = release(SI5)
    for name in (FIRST, SECOND):
        made.add_sample("train", name)
    made.write_table("train", [LINE_2014])
    collection = read(made.root)
    assert only(collection).name == FIRST
    assert collection.notes == ("train: passed over 1 folder that train.SI5.corpus.csv does not name",)


def test_without_tables_all_folders_are_samples(release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    for name in (SECOND, FIRST):
        made.add_sample("dev", name)
    collection = read(made.root)
    assert [sample.name for sample in collection.samples] == [FIRST, SECOND]
    assert [sample.annotation for sample in collection.samples] == [None, None]
    assert collection.notes == ("dev: no corpus table, so its samples have no annotation",)


def test_a_split_that_was_not_unpacked(release: MakeRelease) -> None:
    """The tables of all splits come with every part; the samples of a split that is not there are not missed."""
    made = release(TRANSLATION)
    made.add_sample("test", FIRST)
    for split in ("train", "dev", "test"):
        made.write_table(split, [LINE_2014T])
    assert only(read(made.root)).split == "test"
    message = refused(made.root, split="train")
    assert "--split: 'train'; allowed: all, test" in message


def test_one_split_is_read_and_no_other(release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    for split in ("train", "dev"):
        made.add_sample(split, FIRST)
    made.write_table("train", ["gone|gone/1/*.png|Signer01|REGEN"])
    made.write_table("dev", [LINE_2014])
    assert only(read(made.root, split="dev")).id == f"dev.{FIRST}"


def test_a_sample_without_pictures_stays_one(release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    made.add_sample("train", FIRST, images=0)
    made.write_table("train", [LINE_2014])
    assert only(read(made.root)).path.endswith(f"{FIRST}/1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the header ''"),
        ("id,folder,signer,annotation\na,a,b,c\n", "the header 'id,folder,signer,annotation'"),
        ("id|folder|signer|annotation\na|b\n", "2 cells; allowed: 4"),
        (f"id|folder|signer|annotation\n{LINE_2014}\n{LINE_2014}\n", "again, as in train.corpus.csv line 2"),
    ],
    ids=["empty", "commas", "short line", "sample twice"],
)
def test_broken_tables(text: str, said: str, release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    made.add_sample("train", FIRST)
    made.write_table("train", []).write_text(text)
    assert said in refused(made.root)


def test_a_table_that_is_not_utf8(release: MakeRelease) -> None:
    made = release(TRANSLATION)
    made.add_sample("train", FIRST)
    made.write_table("train", []).write_bytes(LINE_2014T.encode("latin-1"))
    assert "a corpus table in UTF-8" in refused(made.root)


def test_a_table_from_windows_with_a_quote_and_blank_lines(release: MakeRelease) -> None:
    made = release(TRANSLATION)
    made.add_sample("train", FIRST)
    text = made.write_table("train", [LINE_2014T.replace("tiefer", 'ein "tiefer'), "", ""]).read_text(encoding="utf-8")
    made.write_table("train", []).write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert only(read(made.root)).fields["translation"] == 'ein "tiefer luftdruck in den nächsten tagen'


def test_two_tables_for_a_split(release: MakeRelease) -> None:
    made = release(MULTISIGNER)
    made.add_sample("train", FIRST)
    made.write_table("train", [LINE_2014])
    made.write_table("train", [LINE_2014], name="train.SI5.corpus.csv")
    assert "one corpus table" in refused(made.root)


def test_phoenix_asked_for_and_not_there(tmp_path: Path, write_image: Callable[..., Path]) -> None:
    write_image(tmp_path / "a" / "1.png")
    assert "no splits of PHOENIX" in refused(tmp_path, layout="phoenix")
