"""Frames of image folders and of videos, intact and damaged."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tasks.engine.contract.errors import BadInput
from tasks.landmarks.frame_images import MAX_PIXELS
from tasks.landmarks.frames import Frame, open_frames
from tasks.media.reading import VideoReader

Factory = Callable[..., Path]
RED_OVER_BLUE = np.array([[[250, 10, 20]] * 8] * 8 + [[[10, 20, 250]] * 8] * 8, np.uint8)  # 16 x 8


def read_frames(path: Path, media: str = "frames", fps: float | None = None) -> list[Frame]:
    with open_frames(path, media, fps) as source:
        return list(source)


def encode(image: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """Write the given files into a folder."""

    def write_files(**files: bytes) -> Path:
        for name, content in files.items():
            (tmp_path / name.replace("_", ".")).write_bytes(content)
        return tmp_path

    return write_files


def read_only_image(path: Path) -> np.ndarray:
    (frame,) = read_frames(path)
    assert frame.reason == ""
    assert frame.image is not None
    return frame.image


def create_noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (48, 40, 3), dtype=np.uint8)


# Intact images


def test_natural_order_and_times(tmp_path: Path, write_image: Factory) -> None:
    for number in (10, 2, 33, 1):
        write_image(tmp_path / f"img{number}.png", number)
    frames = read_frames(tmp_path, fps=12.5)
    assert [frame.name for frame in frames] == ["img1.png", "img2.png", "img10.png", "img33.png"]
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3]
    assert [frame.seconds for frame in frames] == [0.0, 0.08, 0.16, 0.24]
    assert [int(frame.image[0, 0, 0]) for frame in frames if frame.image is not None] == [1, 2, 10, 33]


def test_source_has_fps_and_frame_count(tmp_path: Path, write_image: Factory) -> None:
    write_image(tmp_path / "1.png")
    (tmp_path / "notes.txt").write_text("not a frame")
    with open_frames(tmp_path, "frames", None) as source:
        assert (source.fps, source.frames) == (25.0, 1)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_lossless_formats_give_exact_rgb(kind: str, folder: Factory) -> None:
    image = read_only_image(folder(**{f"a_{kind.lower()}": encode(RED_OVER_BLUE, kind)}))
    assert np.array_equal(image, RED_OVER_BLUE)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"lossless": True})]
)
def test_other_formats_give_rgb(kind: str, options: dict[str, Any], folder: Factory) -> None:
    image = read_only_image(folder(a_jpg=encode(RED_OVER_BLUE, kind, **options)))  # the name does not matter
    assert np.abs(image.astype(int) - RED_OVER_BLUE).max() < 12


def test_large_image_is_complete(folder: Factory) -> None:
    """Read an image that is copied in bands."""
    large = np.random.default_rng(2).integers(0, 255, (1100, 2000, 3), dtype=np.uint8)
    assert np.array_equal(read_only_image(folder(a_bmp=encode(large, "BMP"))), large)


def test_grey_image_gives_rgb(folder: Factory) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(read_only_image(folder(a_png=encode(grey))), np.stack([grey] * 3, axis=2))


def test_sixteen_bit_grey(folder: Factory) -> None:
    grey = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    image = read_only_image(folder(a_png=encode(grey)))
    assert np.array_equal(image[:, :, 1], grey >> 8)


def test_sixteen_bit_rgb(folder: Factory) -> None:
    """Read a PNG written by OpenCV; the upper eight bits count."""
    import cv2

    rgb = np.random.default_rng(1).integers(0, 65_535, (8, 8, 3), dtype=np.uint16)
    is_encoded, data = cv2.imencode(".png", rgb[:, :, ::-1])
    assert is_encoded
    assert np.array_equal(read_only_image(folder(a_png=data.tobytes())), (rgb >> 8).astype(np.uint8))


def encode_deep(pixels: np.ndarray, significant_bits: int | None = None) -> bytes:
    """Return a PNG of 16 bits per channel; ``pixels`` is RGB, RGBA or grey."""
    import cv2

    channels = {2: [], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2] if pixels.ndim == 3 else 2]
    is_encoded, encoded = cv2.imencode(".png", pixels[..., channels] if channels else pixels)
    assert is_encoded
    data = encoded.tobytes()
    if significant_bits is None:
        return data
    content = b"sBIT" + bytes([significant_bits] * (pixels.shape[2] if pixels.ndim == 3 else 1))
    chunk = struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))
    return data[:33] + chunk + data[33:]  # after the signature and IHDR


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_image_is_scaled_by_the_bits_that_it_uses(folder: Factory, bits: int, channels: int) -> None:
    shape = (8, 8, channels) if channels > 1 else (8, 8)
    pixels = np.random.default_rng(bits).integers(0, 2**bits, shape, dtype=np.uint16)
    pixels.flat[0] = 2**bits - 1
    image = read_only_image(folder(a_png=encode_deep(pixels)))
    assert np.array_equal(image, np.broadcast_to((pixels >> (bits - 8)).reshape(8, 8, channels), (8, 8, 3)))


def test_dark_sixteen_bit_image_is_scaled_like_the_others(folder: Factory) -> None:
    dark, bright = np.full((8, 8), 100, np.uint16), np.full((8, 8), 4095, np.uint16)
    frames = read_frames(folder(a_png=encode_deep(dark), b_png=encode_deep(dark), c_png=encode_deep(bright)))
    assert [frame.image.max() for frame in frames if frame.image is not None] == [6, 6, 255]


@pytest.mark.parametrize("bits", [12, 16])
def test_stated_significant_bits_are_used(folder: Factory, bits: int) -> None:
    dark = np.full((8, 8, 3), 1000, np.uint16)
    assert read_only_image(folder(a_png=encode_deep(dark, significant_bits=bits))).max() == 1000 >> (bits - 8)


def test_transparent_sixteen_bit_image_is_blended_with_black(folder: Factory) -> None:
    rgba = np.full((8, 8, 4), 60_000, np.uint16)
    rgba[..., 3] = 32_768
    assert read_only_image(folder(a_png=encode_deep(rgba))).max() == pytest.approx(60_000 / 2 / 256, abs=1)


def test_palette(folder: Factory) -> None:
    image = Image.fromarray(RED_OVER_BLUE).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    assert np.array_equal(read_only_image(folder(a_png=encode(image))), RED_OVER_BLUE)


def test_black_and_white(folder: Factory) -> None:
    bits = np.eye(8, dtype=bool)
    assert np.array_equal(read_only_image(folder(a_png=encode(Image.fromarray(bits))))[:, :, 0], bits * 255)


def test_rgba_is_blended_with_black(folder: Factory) -> None:
    rgba = np.dstack([RED_OVER_BLUE, np.full((16, 8), 255, np.uint8)])
    rgba[:8, :, 3] = 0
    image = read_only_image(folder(a_png=encode(rgba)))
    assert not image[:8].any()
    assert np.array_equal(image[8:], RED_OVER_BLUE[8:])


def test_grey_with_half_transparency(folder: Factory) -> None:
    grey = np.dstack([np.full((4, 4), 200, np.uint8), np.full((4, 4), 128, np.uint8)])
    assert np.abs(read_only_image(folder(a_png=encode(Image.fromarray(grey)))).astype(int) - 100).max() <= 1


def test_cmyk_jpeg(folder: Factory) -> None:
    image = Image.fromarray(RED_OVER_BLUE).convert("CMYK")
    assert read_only_image(folder(a_jpg=encode(image, "JPEG", quality=95))).shape == RED_OVER_BLUE.shape


def test_exif_orientation(folder: Factory) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by a quarter turn, clockwise
    image = read_only_image(folder(a_jpg=encode(RED_OVER_BLUE, "JPEG", exif=exif, quality=95)))
    assert image.shape == (8, 16, 3)
    assert image[4, 12, 0] > 200  # red was at the top and is now on the right
    assert image[4, 3, 2] > 200
    assert image.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation(orientation: int, folder: Factory) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encode(create_noise(), "PNG", exif=exif)
    right = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(read_only_image(folder(a_png=data)), np.asarray(right))


def test_broken_exif_is_ignored(folder: Factory) -> None:
    data = encode(RED_OVER_BLUE, "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0broken")
    assert np.array_equal(read_only_image(folder(a_webp=data)), RED_OVER_BLUE)


def test_images_may_have_mixed_sizes(tmp_path: Path, write_image: Factory) -> None:
    for number, size in enumerate([(8, 6), (6, 8), (30, 20)]):
        write_image(tmp_path / f"{number}.png", size=size)
    assert [frame.image.shape[:2] for frame in read_frames(tmp_path) if frame.image is not None] == [
        (6, 8),
        (8, 6),
        (20, 30),
    ]


# Damaged images


def read_reason(folder: Factory, content: bytes) -> str:
    """Return the reason why ``content`` is unreadable, from a folder with an intact image before and after it."""
    good = encode(create_noise())
    before, bad, after = read_frames(folder(f1_png=good, f2_png=content, f3_png=good))
    assert before.image is not None
    assert after.image is not None
    assert bad.image is None
    assert (bad.frame_index, bad.name, bad.seconds) == (1, "f2.png", 0.04)
    return bad.reason


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {}), ("WEBP", {})]
)
def test_truncated_image_is_a_bad_frame(kind: str, options: dict[str, Any], share: float, folder: Factory) -> None:
    data = encode(create_noise(), kind, **options)
    assert read_reason(folder, data[: int(len(data) * share)]).startswith("is ")


def test_png_without_its_last_chunk_is_truncated(folder: Factory) -> None:
    assert read_reason(folder, encode(create_noise())[:-12]) == "is truncated"


@pytest.mark.parametrize("seed", range(8))
def test_png_with_a_changed_byte_is_damaged(seed: int, folder: Factory) -> None:
    """Change a byte; decoders ignore the checksum of the pixel data and may decode a different image."""
    data = bytearray(encode(create_noise()))
    data[100 + 300 * seed] ^= 0x55
    assert read_reason(folder, bytes(data)) == "is damaged: a checksum does not match"


def test_empty_file_is_a_bad_frame(folder: Factory) -> None:
    assert read_reason(folder, b"") == "is empty (0 bytes)"


def test_web_page_named_png_is_a_bad_frame(folder: Factory) -> None:
    assert read_reason(folder, b"<!doctype html><title>404</title>").startswith("is not a PNG, JPEG, BMP or WebP")


def create_huge_png(width: int, height: int) -> bytes:
    """Return a PNG of a few bytes that declares a huge size."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


@pytest.mark.parametrize("side", [5793, 10_000, 60_000])
def test_decompression_bomb_is_a_bad_frame(side: int, folder: Factory) -> None:
    assert f"the maximum is {MAX_PIXELS:,} pixels" in read_reason(folder, create_huge_png(side, side))


def test_broken_symlink_is_a_bad_frame(tmp_path: Path, write_image: Factory) -> None:
    write_image(tmp_path / "1.png")
    (tmp_path / "2.png").symlink_to("gone.png")
    assert [frame.reason for frame in read_frames(tmp_path)] == ["", "is a broken symlink"]


def test_pipe_named_png_is_a_bad_frame(tmp_path: Path, write_image: Factory) -> None:
    write_image(tmp_path / "1.png")
    os.mkfifo(tmp_path / "2.png")
    assert [frame.reason for frame in read_frames(tmp_path)] == ["", "is a pipe or a device, not an image"]


def test_control_characters_in_names_are_escaped(tmp_path: Path, write_image: Factory) -> None:
    write_image(tmp_path / "a\nb.png")
    (frame,) = read_frames(tmp_path)
    assert frame.name == "a\\nb.png"


# Invalid samples


def test_sample_with_only_bad_frames_is_bad_input(folder: Factory) -> None:
    frames: list[Frame] = []
    with (
        open_frames(folder(f1_png=b"", f2_png=b"x"), "frames", None) as source,
        pytest.raises(BadInput, match=r"none of its 2 images can be read; the first: f1\.png is empty"),
    ):
        frames.extend(source)
    assert [frame.image for frame in frames] == [None, None]


def test_folder_without_images_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "frames.tif").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"contains no images; their names must end in \.bmp"):
        open_frames(tmp_path, "frames", None)


def test_missing_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the folder was removed after the run started"):
        open_frames(tmp_path / "none", "frames", None)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be listed as a folder"):
        open_frames(tmp_path / "file", "frames", None)


@pytest.mark.parametrize("removes_folder", [True, False], ids=["folder", "image"])
def test_removal_during_the_run_is_bad_input(removes_folder: bool, tmp_path: Path, write_image: Factory) -> None:
    folder = tmp_path / "clip"
    for number in range(3):
        write_image(folder / f"{number}.png")
    with open_frames(folder, "frames", None) as source:
        frames = iter(source)
        next(frames)
        if removes_folder:
            shutil.rmtree(folder)
        else:
            (folder / "1.png").unlink()
        with pytest.raises(BadInput, match=r"clip: 1\.png, image 2 of 3, was removed after the folder was listed"):
            next(frames)


# Videos


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Create a test video, 2 s at 10 frames per second, with the given ffmpeg options."""
    folder = tmp_path_factory.mktemp("videos")

    def create_video(name: str, *options: str) -> Path:
        path = folder / name
        if not path.exists():
            source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=2"]
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *source, *options, str(path)]
            subprocess.run(command, check=True, capture_output=True)
        return path

    return create_video


def test_video_has_frames_with_times(video: Factory) -> None:
    path = video("plain.mp4", "-c:v", "libx264", "-g", "5")
    with open_frames(path, "video", None) as source:
        assert (source.fps, source.frames) == (10.0, 20)
        frames = list(source)
    assert [frame.frame_index for frame in frames] == list(range(20))
    assert frames[7].seconds == pytest.approx(0.7)
    assert frames[7].name == "7"
    assert all(frame.image is not None and frame.image.shape == (48, 64, 3) for frame in frames)


def test_video_frames_are_rgb(video: Factory) -> None:
    red = video("red.mp4", "-vf", "drawbox=color=red:t=fill", "-c:v", "libx264")
    image = read_frames(red, "video")[0].image
    assert image is not None
    assert image[24, 32, 0] > 200
    assert image[24, 32, 2] < 60
    assert image.flags.c_contiguous
    assert image.flags.writeable


def test_video_with_variable_frame_rate_keeps_its_times(video: Factory) -> None:
    path = video("vfr.mkv", "-vf", r"select=not(mod(n\,3))+lt(n\,4)", "-fps_mode", "vfr", "-c:v", "libx264")
    assert [round(frame.seconds, 2) for frame in read_frames(path, "video")] == [
        0,
        0.1,
        0.2,
        0.3,
        0.6,
        0.9,
        1.2,
        1.5,
        1.8,
    ]


def test_video_rotation_is_applied(video: Factory, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "90", "-i"]
    plain = video("plain.mp4", "-c:v", "libx264", "-g", "5")
    subprocess.run([*command, str(plain), "-c", "copy", str(turned)], check=True, capture_output=True)
    frames, upright = read_frames(turned, "video"), read_frames(plain, "video")
    assert frames[3].image is not None
    assert upright[3].image is not None
    assert np.array_equal(frames[3].image, np.rot90(upright[3].image))
    assert frames[3].image.flags.c_contiguous


@pytest.mark.parametrize("rotation", ["0", "90"])
@pytest.mark.parametrize(("aspect", "width"), [("2/1", 128), ("16/11", 93), ("1/2", 32)])
def test_anamorphic_video_gets_the_width_at_which_players_show_it(
    video: Factory, tmp_path: Path, aspect: str, width: int, rotation: str
) -> None:
    stored = video(f"sar-{width}.mp4", "-vf", f"setsar={aspect}", "-c:v", "libx264", "-qp", "0")
    turned = tmp_path / "turned.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", rotation, "-i", str(stored)]
    subprocess.run([*command, "-c", "copy", str(turned)], check=True, capture_output=True)
    with open_frames(turned, "video", None) as source:
        images = [frame.image for frame in source if frame.image is not None]
        conversion = source.conversion
    # Rotated pixels are as wide as they were high.
    shape = (48, width) if rotation == "0" else (64, round(48 / Fraction(aspect)))
    assert {image.shape[:2] for image in images} == {shape}
    assert conversion.pixel_aspect == pytest.approx(
        float(Fraction(aspect) if rotation == "0" else 1 / Fraction(aspect))
    )


def test_absurd_pixel_aspect_is_ignored(video: Factory) -> None:
    path = video("sar-absurd.mp4", "-vf", "setsar=255/1", "-c:v", "libx264")
    image = read_frames(path, "video")[0].image
    assert image is not None
    assert image.shape[:2] == (48, 64)


def measure_combing(image: np.ndarray) -> float:
    """Return how much more neighboring lines differ than lines of the same field."""
    lines = image.astype(float)
    return float(np.abs(lines[1:-1] * 2 - lines[:-2] - lines[2:]).mean() / (1 + np.abs(lines[2:] - lines[:-2]).mean()))


@pytest.mark.parametrize("first", ["interleave_top", "interleave_bottom"])
def test_interlaced_video_is_deinterlaced(video: Factory, first: str) -> None:
    order = f"{first.removeprefix('interleave_')[0]}ff"
    filters = f"scroll=h=0.1,tinterlace={first},setfield={order}"
    path = video(f"{first}.mkv", "-vf", filters, "-flags", "+ildct+ilme", "-c:v", "libx264", "-x264opts", f"{order}=1")
    with VideoReader(path, channels="rgb24") as reader:
        stored = [image.image for image in reader.read_frames(range(10))]
    with open_frames(path, "video", None) as source:
        frames = [frame.image for frame in source if frame.image is not None]
        assert source.conversion.interlaced_frames == len(frames) == 10
    combed, shown = (np.mean([measure_combing(image) for image in images]) for images in (stored, frames))
    assert shown < combed / 2, (combed, shown)


def test_progressive_video_keeps_its_pixels(video: Factory) -> None:
    path = video("plain.mp4", "-c:v", "libx264", "-g", "5")
    with VideoReader(path, channels="rgb24") as reader:
        stored = [image.image for image in reader.read_frames(range(20))]
    with open_frames(path, "video", None) as source:
        shown = [frame.image for frame in source]
        assert (source.conversion.pixel_aspect, source.conversion.interlaced_frames) == (1.0, 0)
    assert all(np.array_equal(first, second) for first, second in zip(stored, shown, strict=True))


def read_part(path: Path, start: float | None, end: float | None) -> list[Frame]:
    with open_frames(path, "video", None, start, end) as source:
        frames = list(source)
        assert source.frames == len(frames)
    return frames


@pytest.mark.parametrize(
    ("start", "end", "numbers"),
    [
        (None, 0.3, range(3)),
        (0.5, 0.9, range(5, 9)),
        (0.45, 0.85, range(5, 9)),  # frames that begin in the part
        (1.7, None, range(17, 20)),
        (1.9, 99, range(19, 20)),
    ],
)
def test_part_of_a_video(video: Factory, start: float | None, end: float | None, numbers: range) -> None:
    path = video("plain.mp4", "-c:v", "libx264", "-g", "5")
    whole, part = read_frames(path, "video"), read_part(path, start, end)
    assert [frame.name for frame in part] == [str(number) for number in numbers]
    assert [frame.frame_index for frame in part] == list(range(len(numbers)))
    assert [frame.seconds for frame in part] == pytest.approx([0.1 * place for place in range(len(numbers))])
    for frame, number in zip(part, numbers, strict=True):
        assert frame.image is not None
        assert np.array_equal(frame.image, whole[number].image)


def test_part_is_counted_from_the_origin_of_the_file(video: Factory, tmp_path: Path) -> None:
    """As players do: the video begins 1.5 s after the audio."""
    path = tmp_path / "late.mp4"
    late = ["-itsoffset", "1.5", "-i", str(video("plain.mp4", "-c:v", "libx264", "-g", "5"))]
    sound = ["-f", "lavfi", "-i", "sine=d=4", "-map", "0:v", "-map", "1:a", "-c:v", "copy"]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *late, *sound, str(path)], check=True)
    assert [frame.name for frame in read_part(path, 1.5, 1.8)] == ["0", "1", "2"]
    assert [frame.name for frame in read_part(path, 0, 1.6)] == ["0"]


def test_part_without_frames_is_bad_input(video: Factory) -> None:
    path = video("plain.mp4", "-c:v", "libx264", "-g", "5")
    with pytest.raises(BadInput, match=r"plain\.mp4: no frame from 2 to 3 s; it lasts 2\.00 s"):
        read_part(path, 2, 3)


def test_part_of_a_video_with_an_unreliable_index(video: Factory) -> None:
    """Its timeline is made by decoding, before a frame is chosen."""
    path = video("bare.h264", "-c:v", "libx264", "-r", "10")
    whole = read_frames(path, "video")
    seconds = [frame.seconds for frame in whole]
    part = read_part(path, seconds[4], seconds[8])
    assert [frame.name for frame in part] == ["4", "5", "6", "7"]
    assert part[0].image is not None
    assert np.array_equal(part[0].image, whole[4].image)


def test_video_without_timestamps(video: Factory) -> None:
    frames = read_frames(video("bare.h264", "-c:v", "libx264", "-r", "10"), "video")
    assert len(frames) == 20
    assert all(frame.image is not None for frame in frames)


def test_video_with_an_unreliable_index_is_decoded(video: Factory) -> None:
    """Read a video whose recovery points look like keyframes; reading continues by decoding."""
    options = ("-c:v", "libx264", "-g", "5", "-x264-params", "intra-refresh=1:bframes=0")
    with open_frames(video("intra-refresh.mp4", *options), "video", None) as source:
        frames = list(source)
        assert (source.fps, source.frames) == (10.0, 20)
    assert [frame.frame_index for frame in frames] == list(range(20))
    assert [round(frame.seconds, 3) for frame in frames] == [number / 10 for number in range(20)]
    assert all(frame.image is not None for frame in frames)


def list_packets(path: Path) -> Iterator[tuple[int, int]]:
    """Yield the position of each packet of the video in the file: (offset, bytes)."""
    import av

    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.size and packet.pos is not None:
                yield packet.pos, packet.size


def test_damaged_keyframe_makes_its_frames_bad(video: Factory, tmp_path: Path) -> None:
    """Damage the keyframe of the second of four GOPs: exactly its five frames are bad."""
    intact = video("plain.mp4", "-c:v", "libx264", "-g", "5", "-sc_threshold", "0")
    data = bytearray(intact.read_bytes())
    offset, size = list(list_packets(intact))[5]
    data[offset + 40 : offset + size] = bytes(size - 40)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    frames = read_frames(path, "video")
    assert [frame.frame_index for frame in frames if frame.image is None] == [5, 6, 7, 8, 9]
    assert "damaged" in frames[5].reason
    assert frames[7].reason.startswith("is decoded from a frame that is damaged")
    for mine, right in zip(frames, read_frames(intact, "video"), strict=True):
        assert mine.seconds == right.seconds
        assert mine.image is None or np.array_equal(mine.image, right.image)


def test_video_without_readable_frames_is_bad_input(video: Factory, tmp_path: Path) -> None:
    intact = video("intra.avi", "-c:v", "mjpeg")
    data = bytearray(intact.read_bytes())
    for offset, size in list_packets(intact):
        data[offset + 8 : offset + 8 + size] = bytes(size)
    path = tmp_path / "nothing.avi"
    path.write_bytes(data)
    with open_frames(path, "video", None) as source, pytest.raises(BadInput, match=r"nothing\.avi: none of its"):
        list(source)


@pytest.mark.parametrize(("content", "message"), [(b"", "is empty"), (b"not a video", "is a text file, not a video")])
def test_file_that_is_not_a_video_is_bad_input(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(BadInput, match=message):
        open_frames(tmp_path / "a.mp4", "video", None)
