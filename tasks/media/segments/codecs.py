"""Codecs that segments are encoded with, and their quality scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

Codec = Literal["x264", "x265", "svtav1", "ffv1"]
Crf: TypeAlias = Annotated[float, Field(ge=0, le=63)]
MAX_CRF: Mapping[Codec, int] = {"x264": 51, "x265": 51, "svtav1": 63}
