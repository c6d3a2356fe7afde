"""The clips that are compared: real ones, and photos of hands under a moving camera."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import imageio_ffmpeg
import numpy as np

FPS = 25
PHOTO_FRAMES = 24  # a photo is shown for about a second
SIZE = (480, 480)
REAL = {
    "selfie": "hands/mp_selfie_segmentation_web.mp4",
    "squats": "hands/tfjs_pose_squats.mp4",
    "asl-hand": "hands/handonly/tfjs_asl_hand.25fps.mp4",
    "carphone": "video/skv_carphone_pristine.mp4",
    "chaplin": "video/mpy_chaplin.mp4",
}
GESTURES = ("call", "four", "rock")


@dataclass(frozen=True)
class Clip:
    """A video to compare on, and how many frames of it."""

    name: str
    path: Path
    frames: int


def shared_folder() -> Path:
    """``shared/``, beside the checkout or where HEADRACE_SHARED says. Raises SystemExit where it is not."""
    folder = Path(os.environ.get("HEADRACE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    if not folder.is_dir():
        raise SystemExit("the clips lie in shared/ beside the checkout; HEADRACE_SHARED may name it")
    return folder


def make_clips(shared: Path, folder: Path, quick: bool) -> list[Clip]:
    """All clips, those of photos made in ``folder``; the first second of each where it is to be ``quick``."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: shared / "data" / path for name, path in REAL.items()}
    for gesture in GESTURES:
        paths[f"photos-{gesture}"] = folder / f"photos-{gesture}.mp4"
        photos = sorted((shared / "data" / "hands" / "gestures").glob(f"{gesture}_*.jpg"))
        _pan(photos, paths[f"photos-{gesture}"])
    if quick:
        paths = {name: _cut(path, folder / f"{name}-short.mp4") for name, path in paths.items()}
    return [Clip(name, path, _count(path)) for name, path in paths.items()]


def _pan(photos: list[Path], target: Path) -> None:
    """Show each photo under a camera that moves in and to the side: the hand moves as in a video, and stays a photo."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "16", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for photo in photos:
            picture = cv2.imread(str(photo))
            for number in range(PHOTO_FRAMES):
                frame = av.VideoFrame.from_ndarray(_view(picture, number / (PHOTO_FRAMES - 1)), "bgr24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _view(picture: np.ndarray, progress: float) -> np.ndarray:
    """The photo from 0.8 to 1 times its size, moved by a tenth of the picture."""
    height, width = picture.shape[:2]
    scale = (0.8 + 0.2 * progress) * min(SIZE[0] / width, SIZE[1] / height)
    shift = (SIZE[0] - scale * width) / 2 + (progress - 0.5) * 0.1 * SIZE[0], (SIZE[1] - scale * height) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(picture, matrix, SIZE, borderMode=cv2.BORDER_REPLICATE)


def _cut(source: Path, target: Path) -> Path:
    first = ["-frames:v", str(FPS), "-an", "-c:v", "libx264", "-crf", "16", str(target)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(source), *first], check=True)
    return target


def _count(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))
