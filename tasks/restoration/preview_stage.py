"""The stage that shows a tape before and after restoration: a contact sheet and a split-screen clip."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from tasks.engine.contract.stage import Workspace
from tasks.media.segment_stages.preview_stage import BeforeAfter, PreviewStageBase
from tasks.media.segment_stages.work import WorkPayload
from tasks.restoration.previews import draw_comparison_sheet, write_split_screen
from tasks.restoration.work import TAPE_PAYLOAD, TapeWork


class PreviewParams(BaseModel):
    """``clip``: write a clip too."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clip: bool = False


class PreviewStage(PreviewStageBase[TapeWork]):
    """Shows one tape."""

    params: PreviewParams

    @property
    def payload(self) -> WorkPayload[TapeWork]:
        """The payload of this stage's items."""
        return TAPE_PAYLOAD

    def draw_sheet(self, video: TapeWork, videos: BeforeAfter) -> bytes:
        """Return the contact sheet of the tape as a JPEG."""
        return draw_comparison_sheet(videos.source, videos.survey, videos.result, video.chain)

    def write_clip(self, video: TapeWork, videos: BeforeAfter, work: Workspace) -> None:
        """Write the split-screen clip if it is requested."""
        if self.params.clip:
            output = work.output(f"previews/{video.tape}.mp4")
            write_split_screen(videos.source, videos.survey, videos.result, video.chain, output)
