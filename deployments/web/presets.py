"""The flows that users can choose, and the presets of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deployments.web.errors import WebError
from deployments.web.store import UploadFolder
from deployments.web.uploads import Choice, FlowKey, Upload


@dataclass(frozen=True)
class Preset:
    """Parameters of a flow under a title."""

    title: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class WebFlow:
    """A flow as users see it.

    results   folders of the output folder that users download; if it is one, its only file is the result
    compares  True if the result is a video to compare with the upload
    """

    title: str
    results: tuple[str, ...]
    compares: bool
    presets: Mapping[str, Preset]


FLOWS: Mapping[FlowKey, WebFlow] = {
    "overlays": WebFlow(
        "Remove logos, subtitles and date stamps",
        ("cleaned",),
        True,
        {
            "standard": Preset("Standard (x264)", {"method": "auto", "codec": "x264"}),
            "lossless": Preset("Lossless: every pixel outside overlays stays", {"method": "auto", "codec": "lossless"}),
            "small": Preset("Small file (AV1)", {"method": "auto", "codec": "svtav1"}),
        },
    ),
    "tapes": WebFlow(
        "Restore a digitized tape",
        ("restored",),
        True,
        {
            "vhs": Preset("Automatic, by the noise of the tape", {"preset": "vhs"}),
            "vhs_standard": Preset("Standard VHS", {"preset": "vhs_standard"}),
            "vhs_clean": Preset("Clean tape", {"preset": "vhs_clean"}),
            "vhs_heavy": Preset("Very noisy tape", {"preset": "vhs_heavy"}),
            "vhs_archive": Preset("Archive (lossless)", {"preset": "vhs_archive"}),
        },
    ),
    "frames": WebFlow(
        "Extract frames",
        ("frames", "dataset"),
        False,
        {
            "few": Preset("8 frames, JPEG", {"max_frames": 8}),
            "many": Preset("100 frames, JPEG", {"max_frames": 100}),
            "exact": Preset("100 frames, PNG", {"max_frames": 100, "image_format": "png"}),
        },
    ),
}


def check_preset(flow: FlowKey, preset: str) -> None:
    """Raise WebError if ``flow`` has no such preset."""
    if preset not in FLOWS[flow].presets:
        allowed = ", ".join(FLOWS[flow].presets)
        raise WebError(422, f"There is no preset {preset[:40]!r} for this flow; choose one of {allowed}.")


def build_parameters(upload: Upload, folder: UploadFolder) -> dict[str, Any]:
    """Return the parameters of a run on a complete upload."""
    assert upload.video is not None, "it is complete"
    own: dict[str, Any] = {"output_dir": str(folder.output), **FLOWS[upload.flow].presets[upload.preset].parameters}
    if upload.flow == "frames":
        # The archive for download contains the images once, in frames/.
        return {**own, "manifest": None, "videos_dir": str(folder.input), "embed_images": False}
    if upload.flow == "tapes":
        return {**own, "input": str(folder.input), "preview": False}
    video = str(folder.get_video(upload.video.suffix))
    return {**own, "input": video, **_build_detection(upload.choice, folder)}


def _build_detection(choice: Choice, folder: UploadFolder) -> dict[str, Any]:
    """Return the parameters that express which overlays are removed, and when."""
    more = [str(box) for box in choice.boxes] + ([str(folder.mask)] if choice.mask else [])
    return {
        "skip": [str(box) for box in choice.skip] or None,
        "add": more or None,
        "times": [str(part) for part in choice.times] or None,
    }
