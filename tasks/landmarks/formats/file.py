"""What a file of landmarks holds, whatever its format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.landmarks.params import Normalization
from tasks.landmarks.sequence import LandmarkSequence

RAW_SUFFIX = ".raw.npy"
SIDE_SUFFIX = ".json"


@dataclass(frozen=True)
class LandmarkFile:
    """The landmarks of one sample, with what one must know to use them.

    sequence   as it is to be used: gaps filled, normalised
    raw        as it was found; the same points where neither was asked for
    models     sha256 (hexadecimal) by file name of the models that found them
    normalize  what the coordinates of ``sequence`` are in: shares of the picture (``none``), or units of shoulder width
    fill_gaps  most frames in a row that were filled in
    title      the sample's name as its collection has it; empty if that is ``name``, which is safe as a file name
    """

    name: str
    sequence: LandmarkSequence
    raw: LandmarkSequence
    models: Mapping[str, str]
    normalize: Normalization
    fill_gaps: int
    title: str = ""

    @property
    def differs(self) -> bool:
        """Whether the parameters let ``sequence`` differ from ``raw``: then the raw points are written too.

        It goes by the parameters, so that all files of a run have the same parts.
        """
        return self.fill_gaps > 0 or self.normalize != "none"
