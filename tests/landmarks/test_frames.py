"""Frames out of folders of pictures and out of videos, sound and damaged."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from tasks.engine.contract.errors import BadInput
from tasks.landmarks.frame_pictures import MAX_PIXELS
from tasks.landmarks.frames import Frame, open_frames

Make = Callable[..., Path]
RED_OVER_BLUE = np.array([[[250, 10, 20]] * 8] * 8 + [[[10, 20, 250]] * 8] * 8, np.uint8)  # 16 x 8


def read(path: Path, media: str = "frames", fps: float | None = None) -> list[Frame]:
    with open_frames(path, media, fps) as source:
        return list(source)


def saved(image: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., Path]:
    """A folder with the given files."""

    def make(**files: bytes) -> Path:
        for name, content in files.items():
            (tmp_path / name.replace("_", ".")).write_bytes(content)
        return tmp_path

    return make


def only(path: Path) -> np.ndarray:
    (frame,) = read(path)
    assert frame.reason == ""
    assert frame.image is not None
    return frame.image


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (48, 40, 3), dtype=np.uint8)


# Sound pictures


def test_natural_order_and_times(tmp_path: Path, write_image: Make) -> None:
    for number in (10, 2, 33, 1):
        write_image(tmp_path / f"img{number}.png", number)
    frames = read(tmp_path, fps=12.5)
    assert [frame.name for frame in frames] == ["img1.png", "img2.png", "img10.png", "img33.png"]
    assert [frame.frame_index for frame in frames] == [0, 1, 2, 3]
    assert [frame.seconds for frame in frames] == [0.0, 0.08, 0.16, 0.24]
    assert [int(frame.image[0, 0, 0]) for frame in frames if frame.image is not None] == [1, 2, 10, 33]


def test_what_a_source_says_of_itself(tmp_path: Path, write_image: Make) -> None:
    write_image(tmp_path / "1.png")
    (tmp_path / "notes.txt").write_text("no frame")
    with open_frames(tmp_path, "frames", None) as source:
        assert (source.fps, source.frames) == (25.0, 1)


@pytest.mark.parametrize("kind", ["PNG", "BMP"])
def test_rgb(kind: str, folder: Make) -> None:
    found = only(folder(**{f"a_{kind.lower()}": saved(RED_OVER_BLUE, kind)}))
    assert np.array_equal(found, RED_OVER_BLUE)
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.writeable


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"lossless": True})]
)
def test_other_kinds_are_rgb_too(kind: str, options: dict[str, Any], folder: Make) -> None:
    found = only(folder(a_jpg=saved(RED_OVER_BLUE, kind, **options)))  # whatever the name says
    assert np.abs(found.astype(int) - RED_OVER_BLUE).max() < 12


def test_a_large_picture_comes_out_whole(folder: Make) -> None:
    """It is copied in bands."""
    large = np.random.default_rng(2).integers(0, 255, (1100, 2000, 3), dtype=np.uint8)
    assert np.array_equal(only(folder(a_bmp=saved(large, "BMP"))), large)


def test_grey(folder: Make) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(only(folder(a_png=saved(grey))), np.stack([grey] * 3, axis=2))


def test_sixteen_bit_grey(folder: Make) -> None:
    grey = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    found = only(folder(a_png=saved(grey)))
    assert np.array_equal(found[:, :, 1], grey >> 8)


def test_sixteen_bit_rgb(folder: Make) -> None:
    """As OpenCV writes it; the upper eight bits count."""
    import cv2

    rgb = np.random.default_rng(1).integers(0, 65_535, (8, 8, 3), dtype=np.uint16)
    ok, data = cv2.imencode(".png", rgb[:, :, ::-1])
    assert ok
    assert np.array_equal(only(folder(a_png=data.tobytes())), (rgb >> 8).astype(np.uint8))


def test_palette(folder: Make) -> None:
    image = Image.fromarray(RED_OVER_BLUE).convert("P", palette=Image.Palette.ADAPTIVE, colors=2)
    assert np.array_equal(only(folder(a_png=saved(image))), RED_OVER_BLUE)


def test_black_and_white(folder: Make) -> None:
    bits = np.eye(8, dtype=bool)
    assert np.array_equal(only(folder(a_png=saved(Image.fromarray(bits))))[:, :, 0], bits * 255)


def test_rgba_is_put_on_black(folder: Make) -> None:
    rgba = np.dstack([RED_OVER_BLUE, np.full((16, 8), 255, np.uint8)])
    rgba[:8, :, 3] = 0
    found = only(folder(a_png=saved(rgba)))
    assert not found[:8].any()
    assert np.array_equal(found[8:], RED_OVER_BLUE[8:])


def test_grey_with_half_transparency(folder: Make) -> None:
    grey = np.dstack([np.full((4, 4), 200, np.uint8), np.full((4, 4), 128, np.uint8)])
    assert np.abs(only(folder(a_png=saved(Image.fromarray(grey)))).astype(int) - 100).max() <= 1


def test_cmyk_jpeg(folder: Make) -> None:
    image = Image.fromarray(RED_OVER_BLUE).convert("CMYK")
    assert only(folder(a_jpg=saved(image, "JPEG", quality=95))).shape == RED_OVER_BLUE.shape


def test_exif_orientation(folder: Make) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    found = only(folder(a_jpg=saved(RED_OVER_BLUE, "JPEG", exif=exif, quality=95)))
    assert found.shape == (8, 16, 3)
    assert found[4, 12, 0] > 200  # red was above, and is right
    assert found[4, 3, 2] > 200
    assert found.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation(orientation: int, folder: Make) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(noise(), "PNG", exif=exif)
    right = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(only(folder(a_png=data)), np.asarray(right))


def test_broken_exif_says_nothing(folder: Make) -> None:
    data = saved(RED_OVER_BLUE, "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0broken")
    assert np.array_equal(only(folder(a_webp=data)), RED_OVER_BLUE)


def test_mixed_sizes(tmp_path: Path, write_image: Make) -> None:
    for number, size in enumerate([(8, 6), (6, 8), (30, 20)]):
        write_image(tmp_path / f"{number}.png", size=size)
    assert [frame.image.shape[:2] for frame in read(tmp_path) if frame.image is not None] == [
        (6, 8),
        (8, 6),
        (20, 30),
    ]


# Damaged pictures


def bad_in_the_middle(folder: Make, content: bytes) -> str:
    """What is said of ``content`` between two sound pictures, which are kept."""
    good = saved(noise())
    before, bad, after = read(folder(f1_png=good, f2_png=content, f3_png=good))
    assert before.image is not None
    assert after.image is not None
    assert bad.image is None
    assert (bad.frame_index, bad.name, bad.seconds) == (1, "f2.png", 0.04)
    return bad.reason


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {}), ("WEBP", {})]
)
def test_a_truncated_picture_is_a_bad_frame_and_never_half_a_picture(
    kind: str, options: dict[str, Any], share: float, folder: Make
) -> None:
    data = saved(noise(), kind, **options)
    assert bad_in_the_middle(folder, data[: int(len(data) * share)]).startswith("is ")


def test_a_png_that_lacks_its_end_alone(folder: Make) -> None:
    assert bad_in_the_middle(folder, saved(noise())[:-12]) == "is cut short"


@pytest.mark.parametrize("seed", range(8))
def test_a_png_with_a_wrong_byte(seed: int, folder: Make) -> None:
    """Decoders do not look at the checksum of the pixels: some such pictures decode, to something else."""
    data = bytearray(saved(noise()))
    data[100 + 300 * seed] ^= 0x55
    assert bad_in_the_middle(folder, bytes(data)) == "is damaged: a checksum in it is wrong"


def test_an_empty_file(folder: Make) -> None:
    assert bad_in_the_middle(folder, b"") == "is empty (0 bytes)"


def test_a_web_page_called_png(folder: Make) -> None:
    assert bad_in_the_middle(folder, b"<!doctype html><title>404</title>").startswith("is no PNG, JPEG, BMP or WebP")


def huge_png(width: int, height: int) -> bytes:
    """A PNG of some bytes that says that it is huge."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


@pytest.mark.parametrize("side", [5793, 10_000, 60_000])
def test_a_decompression_bomb(side: int, folder: Make) -> None:
    assert f"{MAX_PIXELS:,} pixels are read" in bad_in_the_middle(folder, huge_png(side, side))


def test_a_link_to_nothing(tmp_path: Path, write_image: Make) -> None:
    write_image(tmp_path / "1.png")
    (tmp_path / "2.png").symlink_to("gone.png")
    assert [frame.reason for frame in read(tmp_path)] == ["", "is a link to nothing"]


def test_a_pipe_called_png(tmp_path: Path, write_image: Make) -> None:
    write_image(tmp_path / "1.png")
    os.mkfifo(tmp_path / "2.png")
    assert [frame.reason for frame in read(tmp_path)] == ["", "is a pipe or a device, not a picture"]


def test_a_name_with_control_characters(tmp_path: Path, write_image: Make) -> None:
    write_image(tmp_path / "a\nb.png")
    (frame,) = read(tmp_path)
    assert frame.name == "a\\nb.png"


# Samples that cannot be


def test_all_frames_bad(folder: Make) -> None:
    found: list[Frame] = []
    with (
        open_frames(folder(f1_png=b"", f2_png=b"x"), "frames", None) as source,
        pytest.raises(BadInput, match=r"none of its 2 pictures can be read; the first: f1\.png is empty"),
    ):
        found.extend(source)
    assert [frame.image for frame in found] == [None, None]


def test_a_folder_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "frames.tif").write_bytes(b"x")
    with pytest.raises(BadInput, match=r"holds no pictures; their names must end in \.bmp"):
        open_frames(tmp_path, "frames", None)


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the folder is gone since the run began"):
        open_frames(tmp_path / "none", "frames", None)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be listed as a folder"):
        open_frames(tmp_path / "file", "frames", None)


@pytest.mark.parametrize("whole", [True, False], ids=["the folder", "a picture"])
def test_gone_in_mid_run(whole: bool, tmp_path: Path, write_image: Make) -> None:
    folder = tmp_path / "clip"
    for number in range(3):
        write_image(folder / f"{number}.png")
    with open_frames(folder, "frames", None) as source:
        frames = iter(source)
        next(frames)
        if whole:
            shutil.rmtree(folder)
        else:
            (folder / "1.png").unlink()
        with pytest.raises(BadInput, match=r"clip: 1\.png, picture 2 of 3, is gone since the folder was listed"):
            next(frames)


# Videos


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A video of test pictures, 2 s at 10 frames a second, made with the given options of ffmpeg."""
    folder = tmp_path_factory.mktemp("videos")

    def make(name: str, *options: str) -> Path:
        path = folder / name
        if not path.exists():
            source = ["-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=2"]
            command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", *source, *options, str(path)]
            subprocess.run(command, check=True, capture_output=True)
        return path

    return make


def test_a_video(video: Make) -> None:
    path = video("plain.mp4", "-c:v", "libx264", "-g", "5")
    with open_frames(path, "video", None) as source:
        assert (source.fps, source.frames) == (10.0, 20)
        frames = list(source)
    assert [frame.frame_index for frame in frames] == list(range(20))
    assert frames[7].seconds == pytest.approx(0.7)
    assert frames[7].name == "7"
    assert all(frame.image is not None and frame.image.shape == (48, 64, 3) for frame in frames)


def test_a_video_is_rgb(video: Make) -> None:
    red = video("red.mp4", "-vf", "drawbox=color=red:t=fill", "-c:v", "libx264")
    image = read(red, "video")[0].image
    assert image is not None
    assert image[24, 32, 0] > 200
    assert image[24, 32, 2] < 60
    assert image.flags.c_contiguous
    assert image.flags.writeable


def test_a_video_with_uneven_times(video: Make) -> None:
    path = video("vfr.mkv", "-vf", r"select=not(mod(n\,3))+lt(n\,4)", "-fps_mode", "vfr", "-c:v", "libx264")
    assert [round(frame.seconds, 2) for frame in read(path, "video")] == [0, 0.1, 0.2, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8]


def test_a_video_that_is_shown_turned(video: Make, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-display_rotation", "90", "-i"]
    plain = video("plain.mp4", "-c:v", "libx264", "-g", "5")
    subprocess.run([*command, str(plain), "-c", "copy", str(turned)], check=True, capture_output=True)
    frames, upright = read(turned, "video"), read(plain, "video")
    assert frames[3].image is not None
    assert upright[3].image is not None
    assert np.array_equal(frames[3].image, np.rot90(upright[3].image))
    assert frames[3].image.flags.c_contiguous


def test_a_video_without_timestamps(video: Make) -> None:
    frames = read(video("bare.h264", "-c:v", "libx264", "-r", "10"), "video")
    assert len(frames) == 20
    assert all(frame.image is not None for frame in frames)


def test_a_video_whose_index_misleads(video: Make) -> None:
    """Its recovery points look like keyframes; reading goes on where it stopped, by decoding."""
    options = ("-c:v", "libx264", "-g", "5", "-x264-params", "intra-refresh=1:bframes=0")
    with open_frames(video("intra-refresh.mp4", *options), "video", None) as source:
        frames = list(source)
        assert (source.fps, source.frames) == (10.0, 20)
    assert [frame.frame_index for frame in frames] == list(range(20))
    assert [round(frame.seconds, 3) for frame in frames] == [number / 10 for number in range(20)]
    assert all(frame.image is not None for frame in frames)


def packets_of(path: Path) -> Iterator[tuple[int, int]]:
    """Where each packet of the video lies in the file: (offset, bytes)."""
    import av

    with av.open(str(path)) as container:
        for packet in container.demux(video=0):
            if packet.size and packet.pos is not None:
                yield packet.pos, packet.size


def test_a_video_damaged_in_the_middle(video: Make, tmp_path: Path) -> None:
    """The second of four GOPs has a damaged keyframe: its five frames are bad, and no others."""
    sound = video("plain.mp4", "-c:v", "libx264", "-g", "5", "-sc_threshold", "0")
    data = bytearray(sound.read_bytes())
    offset, size = list(packets_of(sound))[5]
    data[offset + 40 : offset + size] = bytes(size - 40)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    frames = read(path, "video")
    assert [frame.frame_index for frame in frames if frame.image is None] == [5, 6, 7, 8, 9]
    assert "damaged" in frames[5].reason
    assert frames[7].reason.startswith("is decoded from a frame that is damaged")
    for mine, right in zip(frames, read(sound, "video"), strict=True):
        assert mine.seconds == right.seconds
        assert mine.image is None or np.array_equal(mine.image, right.image)


def test_a_video_with_nothing_sound(video: Make, tmp_path: Path) -> None:
    sound = video("intra.avi", "-c:v", "mjpeg")
    data = bytearray(sound.read_bytes())
    for offset, size in packets_of(sound):
        data[offset + 8 : offset + 8 + size] = bytes(size)
    path = tmp_path / "nothing.avi"
    path.write_bytes(data)
    with open_frames(path, "video", None) as source, pytest.raises(BadInput, match=r"nothing\.avi: none of its"):
        list(source)


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"no video", "is a text file, not a video")])
def test_no_video(content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    with pytest.raises(BadInput, match=said):
        open_frames(tmp_path / "a.mp4", "video", None)
