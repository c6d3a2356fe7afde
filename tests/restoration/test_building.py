"""Test the order, options and reasons of filter chains, and that ffmpeg runs them."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import imageio_ffmpeg
import pytest

from tasks.engine.contract.errors import InvalidInput
from tasks.media.segments.codecs import Codec
from tasks.media.segments.picture import PictureFormat
from tasks.media.segments.settings import EncoderSettings
from tasks.media.segments.source import survey_video
from tasks.restoration.building import Deinterlace, build_chain
from tasks.restoration.chain import Chain
from tasks.restoration.diagnosis import Borders, Diagnosis
from tasks.restoration.engines.base import get_written_format
from tasks.restoration.options import TapeOptions
from tasks.restoration.planning import choose_encoder
from tasks.restoration.presets import Preset, load_presets, override_preset
from tests.restoration.tapes import FAIR

PRESETS = load_presets().presets
STANDARD = PRESETS["vhs_standard"]


def make_diagnosis(**values: object) -> Diagnosis:
    return Diagnosis(**{**vars(FAIR), **values})  # type: ignore[arg-type]


def make_preset(**values: object) -> Preset:
    return override_preset(STANDARD, values)


def list_filters(chain: Chain) -> list[str]:
    return [step.filter for step in chain.steps]


def get_options(chain: Chain, name: str) -> dict[str, str]:
    return dict(next(step.options for step in chain.steps if step.filter == name))


def test_order_of_filters_is_the_usual_one() -> None:
    order = [name for name in list_filters(build_chain(FAIR, STANDARD, 1080)) if name not in ("format", "scale")]
    assert order[:5] == ["setfield", "bwdif", "fillborders", "chromashift", "lutyuv"]
    assert order[5:] == ["atadenoise", "hqdn3d", "unsharp", "setsar", "setparams"]


def test_every_step_has_a_reason() -> None:
    chain = build_chain(FAIR, STANDARD, 1080)
    reasons = {step.filter: step.reason for step in chain.steps}
    assert all(reasons.values())
    assert reasons["chromashift"] == "colour lies +4.0 px right of and +2.0 px below its picture"
    assert "8 lines" in reasons["fillborders"]
    assert "black is at 22" in reasons["lutyuv"]
    assert "3.0 codes in luma, 5.0 in chroma" in reasons["hqdn3d"]


def test_bobbing_doubles_frames_and_makes_pixels_square() -> None:
    chain = build_chain(FAIR, STANDARD, 1080)
    assert (chain.ratio, chain.interlaced) == (Fraction(2), False)
    assert (chain.width_px, chain.height_px, chain.sample_aspect) == (1440, 1080, "1:1")


@pytest.mark.parametrize(
    ("values", "height", "matrix", "width"),
    [
        ({}, 1080, "bt709", 1440),
        ({}, None, "bt470bg", 768),
        ({"height_px": 480, "fps": 30000 / 1001, "sample_aspect": "8:9"}, None, "smpte170m", 640),
        ({"height_px": 480, "fps": 30000 / 1001, "sample_aspect": "32:27"}, 720, "bt709", 1280),
    ],
)
def test_color_matrix_and_width_depend_on_the_height(
    values: dict[str, object], height: int | None, matrix: str, width: int
) -> None:
    chain = build_chain(make_diagnosis(**values), STANDARD, height)
    assert (chain.color_matrix, chain.width_px) == (matrix, width)
    assert get_options(chain, "setparams")["colorspace"] == matrix


def test_inverse_telecine_drops_a_fifth_of_the_frames() -> None:
    film = make_diagnosis(telecine="3:2", fps=30000 / 1001, height_px=480, sample_aspect="8:9")
    chain = build_chain(film, STANDARD)
    assert list_filters(chain)[:4] == ["setfield", "fieldmatch", "bwdif", "decimate"]
    assert chain.ratio == Fraction(4, 5)
    assert chain.context_frames % 5 == 0


def test_progressive_tape_is_not_deinterlaced() -> None:
    chain = build_chain(make_diagnosis(field_order="progressive", interlaced_share=0.0), STANDARD)
    assert not {"setfield", "bwdif"} & set(list_filters(chain))
    assert chain.ratio == 1


def test_perfect_tape_is_only_deinterlaced_and_scaled() -> None:
    spotless = make_diagnosis(
        noise_luma=0.3,
        noise_chroma=0.4,
        chroma_shift_x_px=0.5,
        chroma_shift_y_px=0.0,
        head_switching_lines=0,
        black_level=16.5,
        white_level=230.0,
    )
    unwanted = {"fillborders", "chromashift", "lutyuv", "atadenoise", "hqdn3d"}
    assert not unwanted & set(list_filters(build_chain(spotless, STANDARD)))


def test_chroma_shift_is_in_chroma_samples() -> None:
    moved = get_options(build_chain(FAIR, STANDARD), "chromashift")
    assert moved == {"cbh": "-2", "crh": "-2", "cbv": "-2", "crv": "-2"}


def test_black_level_correction_is_limited_by_the_preset() -> None:
    chain = build_chain(make_diagnosis(black_level=30.0), make_preset(most_levels=8))
    assert get_options(chain, "lutyuv")["y"].startswith("(val-96.00)")


def test_denoising_strength_increases_with_noise() -> None:
    mild = get_options(build_chain(make_diagnosis(noise_luma=2.0, noise_chroma=3.0), STANDARD), "hqdn3d")
    strong = get_options(build_chain(make_diagnosis(noise_luma=6.0, noise_chroma=9.0), STANDARD), "hqdn3d")
    assert float(strong["luma_tmp"]) == pytest.approx(3 * float(mild["luma_tmp"]), abs=0.02)
    assert float(mild["chroma_tmp"]) > float(mild["luma_tmp"])


def test_preset_crops_torn_lines_and_borders() -> None:
    bordered = make_diagnosis(borders=Borders(left_px=9, right_px=8, top_px=2), head_switching_lines=7)
    chain = build_chain(bordered, make_preset(head_switching="crop", borders="crop"))
    assert (chain.height_px, chain.width_px) == (566, 2 * round(702 * 16 / 15 / 2))
    assert [dict(step.options) for step in chain.steps if step.filter == "crop"] == [
        {"w": "iw", "h": "ih-8", "x": "0", "y": "0"},
        {"w": "702", "h": "566", "x": "10", "y": "2"},
    ]


def test_kept_fields_get_no_filter_that_mixes_lines() -> None:
    chain = build_chain(FAIR, STANDARD, deinterlace="none")
    assert chain.interlaced
    assert (chain.ratio, chain.sample_aspect, chain.width_px) == (Fraction(1), "16:15", 720)
    assert not {"bwdif", "atadenoise", "hqdn3d", "unsharp"} & set(list_filters(chain))
    assert {step.options["interl"] for step in chain.steps if step.filter == "scale"} == {"1"}
    assert get_options(chain, "chromashift")["cbv"] == "0"


ARCHIVE = PRESETS["vhs_archive"]
STORED = PictureFormat(720, 576, "yuv422p", Fraction(16, 15), "tff")


def test_archive_with_x265_is_refused() -> None:
    written = get_written_format(build_chain(FAIR, ARCHIVE), STORED)
    assert (written.pixel_format, written.field_order, written.sample_aspect) == (
        "yuv422p10le",
        "tff",
        Fraction(16, 15),
    )
    EncoderSettings("ffv1").check(written)
    with pytest.raises(ValueError, match="x265 cannot keep fields; deinterlace, or use ffv1 or x264"):
        EncoderSettings("x265").check(written)


def test_codec_without_fields_gives_advice(shared_data: Path) -> None:
    survey = survey_video(shared_data / "video" / "skv_bikes.mp4")
    options, chain = TapeOptions(preset="vhs_archive", codec="x265"), build_chain(FAIR, ARCHIVE)
    with pytest.raises(InvalidInput, match="add --deinterlace bwdif, or choose --codec ffv1 or --codec x264"):
        choose_encoder(options, ARCHIVE, chain, survey)
    with pytest.raises(InvalidInput, match=r"svtav1 takes no yuv422p10le; .*; choose another codec, or another preset"):
        choose_encoder(TapeOptions(preset="vhs_archive", codec="svtav1"), ARCHIVE, chain, survey)
    bobbed = build_chain(FAIR, ARCHIVE, deinterlace="bwdif")
    assert choose_encoder(options, ARCHIVE, bobbed, survey).crf == 20


@pytest.mark.parametrize("codec", ["ffv1", "x265"])
def test_archive_can_be_bobbed(codec: Codec) -> None:
    chain = build_chain(FAIR, ARCHIVE, deinterlace="bwdif")
    assert (chain.ratio, chain.interlaced, chain.sample_aspect, chain.width_px) == (Fraction(2), False, "16:15", 720)
    assert not {"atadenoise", "hqdn3d", "unsharp", "lutyuv", "fillborders", "chromashift"} & set(list_filters(chain))
    EncoderSettings(codec).check(get_written_format(chain, STORED))


def test_archive_with_a_height_has_square_pixels() -> None:
    chain = build_chain(FAIR, ARCHIVE, 720, "bwdif")
    assert (chain.width_px, chain.height_px, chain.sample_aspect, chain.color_matrix) == (960, 720, "1:1", "bt709")


def test_archive_of_a_progressive_tape_keeps_its_pixels() -> None:
    chain = build_chain(make_diagnosis(field_order="progressive"), ARCHIVE)
    assert (chain.ratio, chain.width_px, chain.sample_aspect) == (Fraction(1), 720, "16:15")


def test_interlaced_frames_cannot_be_scaled() -> None:
    with pytest.raises(InvalidInput, match="--height: 1080 with fields kept; allowed: 576"):
        build_chain(FAIR, STANDARD, 1080, "none")


def test_nnedi_requires_weights() -> None:
    with pytest.raises(InvalidInput, match=r"nnedi without its weights.*nnedi_weights.*nnedi3_weights\.bin"):
        build_chain(FAIR, STANDARD, deinterlace="nnedi")


def test_nnedi_gets_its_weights(tmp_path: Path) -> None:
    chain = build_chain(FAIR, make_preset(nnedi_weights=tmp_path / "w.bin"), deinterlace="nnedi")
    assert get_options(chain, "nnedi") == {"weights": str(tmp_path / "w.bin"), "field": "tf"}


@pytest.mark.parametrize("name", ["vhs_standard", "vhs_clean", "vhs_heavy", "vhs_archive"])
@pytest.mark.parametrize("deinterlace", ["auto", "estdif"])
def test_ffmpeg_output_matches_the_chain(name: str, deinterlace: Deinterlace) -> None:
    chain = build_chain(make_diagnosis(width_px=180, height_px=144), PRESETS[name], deinterlace=deinterlace)
    assert count_frames(chain) == 4 * chain.ratio


PROGRESSIVE: dict[str, object] = {"field_order": "progressive", "interlaced_share": 0.0}
HD: dict[str, object] = {"width_px": 1920, "height_px": 1080, "sample_aspect": "1:1"}
EXTREME: dict[str, object] = {
    "noise_luma": 49.0,
    "noise_chroma": 49.0,
    "chroma_shift_x_px": -12.0,
    "chroma_shift_y_px": -8.0,
    "head_switching_lines": 40,
    "black_level": 0.0,
    "white_level": 255.0,
}


@pytest.mark.parametrize("name", ["vhs_standard", "vhs_archive"])
@pytest.mark.parametrize(
    ("values", "pixels", "frames"),
    [
        pytest.param(PROGRESSIVE, "yuv420p", 4, id="progressive"),
        pytest.param({"frames": 1, "fps": 0.0, "duration_seconds": 0.0}, "yuv422p", 1, id="one frame, no rate"),
        pytest.param({"width_px": 181, "height_px": 145}, "yuv444p", 4, id="odd"),
        pytest.param({**PROGRESSIVE, "width_px": 181, "height_px": 145}, "yuv444p", 4, id="odd, progressive"),
        pytest.param({}, "gray", 4, id="gray"),
        pytest.param({}, "yuv422p10le", 4, id="10 bits"),
        pytest.param({}, "gbrp", 4, id="rgb"),
        pytest.param(HD, "yuv420p", 1, id="1080i"),
        pytest.param(EXTREME, "yuv420p", 4, id="extreme values"),
        pytest.param({"sample_aspect": "128:117"}, "yuv420p", 4, id="unusual aspect"),
        pytest.param({"audio_channels": 0, "audio_rate_hz": 0}, "yuv420p", 4, id="no audio"),
    ],
)
def test_ffmpeg_runs_chains_of_unusual_tapes(name: str, values: dict[str, object], pixels: str, frames: int) -> None:
    diagnosis = make_diagnosis(**{"width_px": 180, "height_px": 144, **values})
    chain = build_chain(diagnosis, PRESETS[name])
    assert count_frames(chain, f"{diagnosis.width_px}x{diagnosis.height_px}", pixels, frames) == frames * chain.ratio


def test_hd_tape_has_the_color_matrix_of_hd() -> None:
    tags = get_options(build_chain(make_diagnosis(**HD), ARCHIVE), "setparams")
    assert (tags["colorspace"], tags["color_primaries"], tags["color_trc"]) == ("bt709", "bt709", "bt709")
    scaled = [
        step.options
        for step in build_chain(make_diagnosis(**HD), STANDARD, 720).steps
        if "out_color_matrix" in step.options
    ]
    assert [(options["in_color_matrix"], options["out_color_matrix"]) for options in scaled] == [("bt709", "bt709")]


@pytest.mark.parametrize("denoise", ["atadenoise", "vaguedenoiser", "fftdnoiz", "nlmeans"])
def test_ffmpeg_runs_every_denoiser(denoise: str) -> None:
    chain = build_chain(make_diagnosis(width_px=180, height_px=144), make_preset(denoise=denoise))
    assert denoise in list_filters(chain)
    assert count_frames(chain) == 8


def count_frames(chain: Chain, size: str = "180x144", pixels: str = "yuv422p", frames: int = 4) -> int:
    """Run ``chain`` on synthetic frames and return the number of output frames of the planned size and format."""
    graph = ",".join(
        f"{step.filter}=" + ":".join(f"{k}='{v}'" for k, v in step.options.items()) for step in chain.steps
    )
    source = f"testsrc2=size={size}:rate=25,format={pixels},trim=end_frame={frames}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", f"{source},{graph}"]
    raw = subprocess.run([*command, "-fps_mode", "passthrough", "-f", "rawvideo", "-"], check=True, capture_output=True)
    whole, rest = divmod(len(raw.stdout), compute_frame_bytes(chain))
    assert rest == 0
    return whole


def compute_frame_bytes(chain: Chain) -> int:
    """Return the bytes of a raw frame: half widths and heights are rounded up."""
    wide, high = chain.width_px, chain.height_px
    if chain.pixel_format == "yuv420p":
        return wide * high + 2 * (-(-wide // 2) * -(-high // 2))
    return 2 * (wide * high + 2 * -(-wide // 2) * high)
