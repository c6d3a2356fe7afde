"""The stage that shows a video before and after cleaning: a contact sheet."""

from __future__ import annotations

from tasks.engine.contract.stage import NoParams
from tasks.media.segment_stages.preview_stage import BeforeAfter, PreviewStageBase
from tasks.media.segment_stages.work import WorkPayload
from tasks.overlays.pictures import draw_comparison
from tasks.overlays.work import VIDEO_PAYLOAD, VideoWork


class PreviewStage(PreviewStageBase[VideoWork]):
    """Shows one video."""

    def __init__(self) -> None:
        super().__init__(NoParams())

    @property
    def payload(self) -> WorkPayload[VideoWork]:
        """The payload of this stage's items."""
        return VIDEO_PAYLOAD

    def draw_sheet(self, video: VideoWork, videos: BeforeAfter) -> bytes:
        """Return the contact sheet of the video as a JPEG."""
        overlays = video.load_overlays(videos.output_dir)
        return draw_comparison(videos.source, videos.survey, videos.result, overlays)
