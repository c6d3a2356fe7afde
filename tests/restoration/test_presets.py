"""Test the shipped presets, the user's preset files, and the messages about invalid ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tasks.engine.contract.errors import InvalidInput
from tasks.restoration.diagnosis import Diagnosis
from tasks.restoration.presets import load_presets, override_preset
from tests.restoration.tapes import FAIR

NAMES = ("vhs_standard", "vhs_clean", "vhs_heavy", "vhs_archive", "vhs")


def make_diagnosis(**values: object) -> Diagnosis:
    """Return the diagnosis of a PAL tape in fair condition; ``values`` override its fields."""
    return replace(FAIR, **values)  # type: ignore[arg-type]


def write_presets(folder: Path, text: str) -> Path:
    file = folder / "own.toml"
    file.write_text(text, encoding="utf-8")
    return file


def list_problems(file: Path) -> list[str]:
    with pytest.raises(InvalidInput) as raised:
        load_presets(file)
    return [str(problem) for problem in raised.value.problems]


def test_documented_presets_exist() -> None:
    assert load_presets().names == NAMES


def test_archive_preset_is_lossless_and_keeps_fields() -> None:
    archive = load_presets().presets["vhs_archive"]
    assert (archive.codec, archive.pixel_format) == ("ffv1", "yuv422p10le")
    assert (archive.deinterlace, archive.denoise) == ("none", "none")


@pytest.mark.parametrize(("noise", "name"), [(1.0, "vhs_clean"), (3.0, "vhs_standard"), (7.0, "vhs_heavy")])
def test_automatic_preset_is_chosen_by_noise(noise: float, name: str) -> None:
    chosen = load_presets().choose("vhs", make_diagnosis(noise_luma=noise))
    assert chosen.preset.name == name
    assert f"{noise:.1f}" in chosen.reason


def test_requested_preset_is_used_for_any_tape() -> None:
    assert load_presets().choose("vhs_clean", make_diagnosis(noise_luma=9.0)).preset.name == "vhs_clean"


def test_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="'vhs_super'; allowed: vhs_standard, vhs_clean"):
        load_presets().check("vhs_super")


def test_preset_file_overrides_one_key(tmp_path: Path) -> None:
    presets = load_presets(write_presets(tmp_path, "[presets.vhs_standard]\nsharpen = 0.9\n")).presets
    shipped = load_presets().presets
    assert presets["vhs_standard"] == shipped["vhs_standard"].model_copy(update={"sharpen": 0.9})
    assert presets["vhs_clean"] == shipped["vhs_clean"]


def test_new_preset_inherits_from_its_base(tmp_path: Path) -> None:
    own = load_presets(write_presets(tmp_path, '[presets.camcorder]\nbased_on = "vhs_clean"\nheight = 1080\n'))
    camcorder, clean = own.presets["camcorder"], own.presets["vhs_clean"]
    assert camcorder == clean.model_copy(update={"name": "camcorder", "height": 1080})


def test_all_problems_of_a_preset_file_are_reported_together(tmp_path: Path) -> None:
    text = (
        '[presets.vhs_clean]\nsharpen = 7\ncodec = "divx"\ncolour = 1\n[presets.own]\nbased_on = "vhs_clen"\n[more]\n'
    )
    messages = "\n".join(list_problems(write_presets(tmp_path, text)))
    assert "own.toml: more: unknown table; allowed: presets, automatic" in messages
    assert "vhs_clean.sharpen: 7; allowed: less than or equal to 1.5" in messages
    assert "vhs_clean.codec: 'divx'; allowed: 'x264', 'x265', 'svtav1' or 'ffv1'" in messages
    assert "vhs_clean.colour: unknown key; allowed: name, description, deinterlace" in messages
    assert "own.based_on: 'vhs_clen'; allowed: vhs_standard, vhs_clean" in messages
    assert "own.denoise: missing" in messages


@pytest.mark.parametrize(
    ("text", "message"),
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
def test_broken_preset_file_reports_the_allowed_values(tmp_path: Path, text: str, message: str) -> None:
    assert message in "\n".join(list_problems(write_presets(tmp_path, text)))


def test_missing_preset_file_is_named(tmp_path: Path) -> None:
    assert "gone.toml" in list_problems(tmp_path / "gone.toml")[0]


def test_overrides_accept_numbers_as_text() -> None:
    standard = load_presets().presets["vhs_standard"]
    changed = override_preset(standard, {"sharpen": "0.2", "levels": "no", "crf": "23"})
    assert (changed.sharpen, changed.levels, changed.crf) == (0.2, False, 23.0)


def test_invalid_override_names_the_option() -> None:
    with pytest.raises(InvalidInput) as raised:
        override_preset(load_presets().presets["vhs_standard"], {"height": 7, "bogus": 1}, "--set")
    assert [problem.where for problem in raised.value.problems] == ["--set.height", "--set.bogus"]
