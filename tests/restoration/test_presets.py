"""Presets: what ships, what a user's file changes, and what is said of a broken one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engine.contract.errors import InvalidInput
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.presets import load_presets, override_preset
from tests.restoration.tapes import FAIR

NAMES = ("vhs_standard", "vhs_clean", "vhs_heavy", "vhs_archive", "vhs")


def tape(**values: object) -> Diagnosis:
    """A PAL tape in fair condition, unless ``values`` say otherwise."""
    return replace(FAIR, **values)  # type: ignore[arg-type]


def written(folder: Path, text: str) -> Path:
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return file


def problems_of(file: Path) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        load_presets(file)
    return [str(problem) for problem in raised.value.problems]


def test_the_presets_that_people_know_are_there() -> None:
    assert load_presets().names == NAMES


def test_the_archive_is_lossless_and_keeps_fields() -> None:
    archive = load_presets().presets["vhs_archive"]
    assert (archive.codec, archive.pixel_format) == ("ffv1", "yuv422p10le")
    assert (archive.deinterlace, archive.denoise) == ("none", "none")


@pytest.mark.parametrize(("noise", "name"), [(1.0, "vhs_clean"), (3.0, "vhs_standard"), (7.0, "vhs_heavy")])
def test_vhs_is_chosen_by_the_noise(noise: float, name: str) -> None:
    chosen = load_presets().choose("vhs", tape(noise_luma=noise))
    assert chosen.preset.name == name
    assert f"{noise:.1f}" in chosen.reason


def test_a_preset_that_is_asked_for_is_taken_whatever_the_tape() -> None:
    assert load_presets().choose("vhs_clean", tape(noise_luma=9.0)).preset.name == "vhs_clean"


def test_an_unknown_preset_is_told_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match="'vhs_super'; allowed: vhs_standard, vhs_clean"):
        load_presets().check("vhs_super")


def test_a_file_changes_one_key_and_leaves_the_others(tmp_path: Path) -> None:
    presets = load_presets(written(tmp_path, "[presets.vhs_standard]\nsharpen = 0.9\n")).presets
    shipped = load_presets().presets
    assert presets["vhs_standard"] == shipped["vhs_standard"].model_copy(update={"sharpen": 0.9})
    assert presets["vhs_clean"] == shipped["vhs_clean"]


def test_a_new_preset_takes_the_rest_from_another(tmp_path: Path) -> None:
    own = load_presets(written(tmp_path, '[presets.camcorder]\nbased_on = "vhs_clean"\nheight = 1080\n'))
    camcorder, clean = own.presets["camcorder"], own.presets["vhs_clean"]
    assert camcorder == clean.model_copy(update={"name": "camcorder", "height": 1080})


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    text = (
        '[presets.vhs_clean]\nsharpen = 7\ncodec = "divx"\ncolour = 1\n[presets.own]\nbased_on = "vhs_clen"\n[more]\n'
    )
    said = "\n".join(problems_of(written(tmp_path, text)))
    assert "own.toml: more: unknown table; allowed: presets, automatic" in said
    assert "vhs_clean.sharpen: 7; allowed: less than or equal to 1.5" in said
    assert "vhs_clean.codec: 'divx'; allowed: 'x264', 'x265', 'svtav1' or 'ffv1'" in said
    assert "vhs_clean.colour: unknown key; allowed: name, description, deinterlace" in said
    assert "own.based_on: 'vhs_clen'; allowed: vhs_standard, vhs_clean" in said
    assert "own.denoise: missing" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[presets.vhs_clean", "allowed: TOML"),
        ("x = " + "[" * 100_000, "nested too deeply"),
        ("#" * (1 << 20) + "#", "at most 1 MiB"),
        ("presets = 3", "allowed: one table per preset"),
        ("[presets]\nvhs_clean = 3", "allowed: a table"),
        ('[automatic.vhs]\notherwise = "none"', "vhs.choices: 'none'; allowed: vhs_standard"),
        ('[presets.vhs]\nbased_on = "vhs_clean"', "both a preset and an automatic one"),
        ('[presets.vhs_clean]\ncodec = "ffv1"', "ffv1 is lossless and has no crf"),
        ('[presets.vhs_clean]\ncodec = "svtav1"\npixel_format = "yuv422p"', "svtav1 takes yuv420p"),
    ],
)
def test_a_broken_file_says_what_it_lacks(tmp_path: Path, text: str, said: str) -> None:
    assert said in "\n".join(problems_of(written(tmp_path, text)))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "gone.toml" in problems_of(tmp_path / "gone.toml")[0]


def test_text_stands_for_numbers_when_keys_are_overridden() -> None:
    standard = load_presets().presets["vhs_standard"]
    changed = override_preset(standard, {"sharpen": "0.2", "levels": "no", "crf": "23"})
    assert (changed.sharpen, changed.levels, changed.crf) == (0.2, False, 23.0)


def test_what_cannot_be_overridden_is_told_with_its_option() -> None:
    with pytest.raises(InvalidInput) as raised:
        override_preset(load_presets().presets["vhs_standard"], {"height": 7, "bogus": 1}, "--set")
    assert [problem.where for problem in raised.value.problems] == ["--set.height", "--set.bogus"]
