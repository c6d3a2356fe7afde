"""The clips of the comparison: real ones, and photos of hands under a moving camera."""

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
PHOTO_FRAMES = 24  # a photo is displayed for about a second
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
    """A video for the comparison, and its number of frames."""

    name: str
    path: Path
    frames: int


def find_shared_folder() -> Path:
    """Return ``shared/`` next to the checkout, or HEADRACE_SHARED. Raises SystemExit if it does not exist."""
    folder = Path(os.environ.get("HEADRACE_SHARED") or Path(__file__).resolve().parents[3] / "shared")
    if not folder.is_dir():
        raise SystemExit("the clips are in shared/ next to the checkout; set HEADRACE_SHARED to another folder")
    return folder


def prepare_clips(shared: Path, folder: Path, quick: bool) -> list[Clip]:
    """Return all clips; those of photos are created in ``folder``. ``quick`` selects the first second of each."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: shared / "data" / path for name, path in REAL.items()}
    for gesture in GESTURES:
        paths[f"photos-{gesture}"] = folder / f"photos-{gesture}.mp4"
        photos = sorted((shared / "data" / "hands" / "gestures").glob(f"{gesture}_*.jpg"))
        _write_pan(photos, paths[f"photos-{gesture}"])
    if quick:
        paths = {name: _cut(path, folder / f"{name}-short.mp4") for name, path in paths.items()}
    return [Clip(name, path, _count_frames(path)) for name, path in paths.items()]


def _write_pan(photos: list[Path], target: Path) -> None:
    """Show each photo under a camera that zooms in and moves sideways, so that the hand moves as in a video."""
    with av.open(str(target), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "16", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for photo in photos:
            photo_image = cv2.imread(str(photo))
            for number in range(PHOTO_FRAMES):
                frame = av.VideoFrame.from_ndarray(_transform(photo_image, number / (PHOTO_FRAMES - 1)), "bgr24")
                container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _transform(image: np.ndarray, progress: float) -> np.ndarray:
    """Return the photo scaled by 0.8 to 1 and moved by a tenth of the image."""
    height, width = image.shape[:2]
    scale = (0.8 + 0.2 * progress) * min(SIZE[0] / width, SIZE[1] / height)
    shift = (SIZE[0] - scale * width) / 2 + (progress - 0.5) * 0.1 * SIZE[0], (SIZE[1] - scale * height) / 2
    matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return cv2.warpAffine(image, matrix, SIZE, borderMode=cv2.BORDER_REPLICATE)


def _cut(source: Path, target: Path) -> Path:
    first = ["-frames:v", str(FPS), "-an", "-c:v", "libx264", "-crf", "16", str(target)]
    subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(source), *first], check=True)
    return target


def _count_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))
