"""Changes of images, compared with the ffmpeg program, Pillow, and FFmpeg's own filters."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from av.filter import Graph
from PIL import Image

from tasks.engine.contract.errors import BadInput
from tasks.frames.params import FramesParams, check_frames
from tasks.frames.processing import process_image
from tasks.media import tone_mapping

VIDEO = Path(__file__).resolve().parents[1] / "data" / "video"
FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
Stage = Callable[..., Any]


def encode_video(path: Path, *options: str) -> Path:
    subprocess.run([FFMPEG, "-v", "error", "-nostdin", *options, str(path)], check=True)
    return path


def filter_video(path: Path, filters: str, pixel_format: str = "bgr24") -> bytes:
    """Return the first frame of a video after filters of the ffmpeg program."""
    command = [FFMPEG, "-v", "error", "-i", str(path), "-vf", filters, "-frames:v", "1", "-f", "rawvideo"]
    return subprocess.run([*command, "-pix_fmt", pixel_format, "-"], check=True, capture_output=True).stdout


def extract(stage: Stage, path: Path, **options: Any) -> tuple[Any, Any]:
    """Return the row and the image of the first frame as a lossless image."""
    run = stage(path, {"a": [0.0]}, **{"strategy": "support", "image_format": "png", **options})
    (row,) = run.get_sample("a")["frames"]
    return row, cv2.imdecode(np.frombuffer(run.files[row["path"]], np.uint8), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope="module")
def fields(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write an anamorphic interlaced video, 64x48 with pixels of 16:11."""
    source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=50:d=0.2", "-vf", "interlace=lowpass=off,setsar=16/11"]
    path = tmp_path_factory.mktemp("fields") / "fields.mkv"
    return encode_video(path, *source, "-c:v", "libx264", "-qp", "0", "-flags", "+ilme+ildct", "-x264opts", "tff=1")


def test_sar_color_and_interlaced_are_those_of_the_file(fields: Path, stage: Stage) -> None:
    row, image = extract(stage, fields)
    assert (row["sar"], row["interlaced"]) == ("16:11", True)
    assert image.shape == (48, 64, 3)
    row, _ = extract(stage, VIDEO / "nasa_13013_hdr.mp4", resize="64")
    with av.open(str(VIDEO / "nasa_13013_hdr.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range)[1:3] == (9, 16)
    assert row["color"].split("/")[1:3] == ["bt2020", "smpte2084"]
    assert row["interlaced"] is False


def test_square_pixels_have_the_width_that_players_show(fields: Path, stage: Stage) -> None:
    row, image = extract(stage, fields, square_pixels=True)
    assert image.shape == (48, 93, 3)  # 64 * 16 / 11
    assert (row["width_px"], row["height_px"], row["sar"]) == (93, 48, "16:11")


def test_flagged_frames_are_deinterlaced_as_by_ffmpeg(fields: Path, clip: Path, stage: Stage) -> None:
    _, image = extract(stage, fields, deinterlace="flagged", verify_frames=1.0)
    truth = np.frombuffer(filter_video(fields, "estdif=mode=frame:parity=auto:deint=all"), np.uint8).reshape(48, 64, 3)
    np.testing.assert_array_equal(image, truth)
    _, stored = extract(stage, fields)
    assert np.abs(stored.astype(int) - image).max() > 50
    np.testing.assert_array_equal(extract(stage, clip, deinterlace="flagged")[1], extract(stage, clip)[1])


def test_png_of_16_bits_keeps_all_levels(tmp_path: Path, stage: Stage) -> None:
    """Compare with the values that a 10-bit gray ramp was made of."""
    ramp = np.tile(np.arange(0, 1024, dtype=np.uint16), (8, 1))
    (tmp_path / "ramp.raw").write_bytes(ramp.tobytes())
    raw = ["-f", "rawvideo", "-pix_fmt", "gray10le", "-s", "1024x8", "-i", str(tmp_path / "ramp.raw")]
    path = encode_video(tmp_path / "ramp.mkv", *raw, "-c:v", "ffv1", "-color_range", "pc")
    _, image = extract(stage, path, depth=16)
    assert image.dtype == np.uint16
    assert len(np.unique(image[0, :, 0])) == 1024
    assert np.abs(image[0, :, 0].astype(float) - np.arange(1024) * 65535 / 1023).max() < 130


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a video whose left half is opaque red and whose right half is half transparent blue."""
    pixels = np.zeros((16, 32, 4), np.uint8)
    pixels[:, :16], pixels[:, 16:] = (255, 0, 0, 255), (0, 0, 255, 128)
    folder = tmp_path_factory.mktemp("clear")
    (folder / "rgba.raw").write_bytes(pixels.tobytes())
    raw = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", "32x16", "-i", str(folder / "rgba.raw")]
    return encode_video(folder / "clear.mkv", *raw, "-c:v", "ffv1", "-pix_fmt", "bgra")


@pytest.mark.parametrize(
    ("alpha", "right"),
    [("drop", [255, 0, 0]), ("keep", [255, 0, 0, 128]), ("black", [128, 0, 0]), ("white", [255, 127, 127])],
)
def test_alpha_is_kept_or_flattened(alpha: str, right: list[int], clear: Path, stage: Stage) -> None:
    _, image = extract(stage, clear, alpha=alpha)
    assert image[0, -1].tolist() == right
    assert image[0, 0].tolist() == [0, 0, 255, 255][: len(right)]


@pytest.mark.parametrize("form", ["avif", "webp", "png"])
def test_pillow_reads_every_format(form: str, clip: Path, clear: Path, stage: Stage) -> None:
    run = stage(clip, {"a": []}, max_frames=1, image_format=form, quality=90)
    again = stage(clip, {"a": []}, max_frames=1, image_format=form, quality=90)
    assert run.files == again.files
    (content,) = run.files.values()
    image = Image.open(io.BytesIO(content))
    assert (image.format, image.size) == (form.upper(), (160, 90))
    _, lossless = extract(stage, clip, max_frames=1, strategy="uniform")
    assert np.abs(np.asarray(image.convert("RGB"))[:, :, ::-1].astype(float) - lossless).mean() < 10
    kept = stage(clear, {"a": []}, image_format=form, alpha="keep")
    assert Image.open(io.BytesIO(next(iter(kept.files.values())))).mode == "RGBA"


def test_crops_and_pads_keep_these_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3), dtype=np.uint8)

    def process(**options: Any) -> Any:
        return process_image(image, Fraction(1), FramesParams(**options))

    np.testing.assert_array_equal(process(crop="64x32+5+7"), image[7:39, 5:69])
    np.testing.assert_array_equal(process(center_crop="1:1"), image[:, 35:125])
    np.testing.assert_array_equal(process(center_crop="16:3"), image[30:60])
    padded = process(pad="1:1")
    assert padded.shape == (160, 160, 3)
    np.testing.assert_array_equal(padded[35:125], image)
    assert padded[:35].max() == padded[125:].max() == 0
    assert process(crop="80x80+0+0", pad="2:1", resize="32").shape == (16, 32, 3)
    with pytest.raises(BadInput, match=r"--crop 64x32\+100\+0 is not inside its frames of 160x90"):
        process(crop="64x32+100+0")


@pytest.mark.parametrize("transfer", [tone_mapping.PQ, tone_mapping.HLG])
def test_reference_white_and_black_keep_their_place(transfer: int) -> None:
    """PQ 0.58 and HLG 0.75 are 203 cd/m2 (ITU-R BT.2408)."""
    white = 0.5807 if transfer == tone_mapping.PQ else 0.75
    light = tone_mapping.decode_light(np.full((1, 1, 3), white, np.float32), transfer)
    assert light == pytest.approx(203, rel=0.01)
    dark = tone_mapping.map_tones(np.zeros((1, 1, 3), np.float32), transfer, tone_mapping.BT2020)
    assert dark == pytest.approx(0, abs=1e-3)


def test_curve_is_that_of_the_filter_tonemap() -> None:
    light = np.random.default_rng(0).uniform(0, 4.9, (32, 64, 3)).astype(np.float32)
    frame = av.VideoFrame(64, 32, "gbrpf32le")
    for plane, channel in zip(frame.planes, (1, 2, 0), strict=True):
        plane.update(np.ascontiguousarray(light[..., channel]).tobytes())
    frame.color_trc = 8
    graph = Graph()
    source = graph.add_buffer(width=64, height=32, format="gbrpf32le", time_base=Fraction(1, 25))
    peak = tone_mapping.PEAK_NITS / tone_mapping.REFERENCE_WHITE_NITS
    graph.link_nodes(source, graph.add("tonemap", f"mobius:param=0.3:desat=0:peak={peak}"), graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    mapped = graph.pull()
    truth = np.stack([np.frombuffer(bytes(mapped.planes[n]), np.float32).reshape(32, -1)[:, :64] for n in (2, 0, 1)], 2)
    np.testing.assert_allclose(tone_mapping.compress(light), np.clip(truth, 0, 1), atol=1e-4)


def test_hdr_frames_become_sdr_and_others_stay(clip: Path, stage: Stage) -> None:
    path = VIDEO / "nasa_13013_hdr.mp4"
    _, mapped = extract(stage, path, hdr="sdr", max_frames=1, strategy="uniform", verify_frames=1.0)
    peak = tone_mapping.PEAK_NITS / tone_mapping.REFERENCE_WHITE_NITS
    steps = ["select=eq(n\\,162)", "zscale=t=linear:npl=203", "format=gbrpf32le", "zscale=p=bt709"]
    steps += [f"tonemap=mobius:param=0.3:desat=0:peak={peak}", "zscale=t=iec61966-2-1:m=gbr:r=full", "format=gbrp"]
    truth = np.frombuffer(filter_video(path, ",".join(steps)), np.uint8).reshape(180, 320, 3)
    assert np.abs(mapped.astype(float) - truth).mean() < 1.5
    _, stored = extract(stage, path, max_frames=1, strategy="uniform")
    assert np.abs(mapped.astype(float) - stored).mean() > 5
    np.testing.assert_array_equal(extract(stage, clip, hdr="sdr")[1], extract(stage, clip)[1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"depth": 16}, "--depth 16: given with jpg"),
        ({"alpha": "keep"}, "--alpha keep: given with jpg"),
        ({"frames": False}, "--no-frames: given without --clips and --audio"),
        ({"frames": False, "clips": "copy", "all": True}, "--no-frames: given with --all"),
    ],
)
def test_contradicting_image_options_are_one_line(options: dict[str, Any], words: str) -> None:
    (problem,) = check_frames({**FramesParams().model_dump(), **options})
    assert words in str(problem)
