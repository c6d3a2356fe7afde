"""The contents of a landmark file in any format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.landmarks.params import Normalization
from tasks.landmarks.sequence import LandmarkSequence

RAW_SUFFIX = ".raw.npy"
SIDE_SUFFIX = ".json"


@dataclass(frozen=True)
class LandmarkFile:
    """The landmarks of one sample and their metadata.

    sequence   the landmarks to use: gaps filled, normalized
    raw        the landmarks as detected; equal to ``sequence`` if neither option is set
    models     sha256 (hexadecimal) of the models by file name
    normalize  unit of the coordinates of ``sequence``: shares of the image (``none``) or shoulder widths
    fill_gaps  maximum number of consecutive frames that were filled
    title      name of the sample in its collection; empty if equal to ``name``, which is safe as a file name
    """

    name: str
    sequence: LandmarkSequence
    raw: LandmarkSequence
    models: Mapping[str, str]
    normalize: Normalization
    fill_gaps: int
    title: str = ""

    @property
    def is_modified(self) -> bool:
        """Return True if ``sequence`` may differ from ``raw``; then the raw points are written too.

        It depends on the parameters alone, so that all samples of a run have the same files.
        """
        return self.fill_gaps > 0 or self.normalize != "none"
