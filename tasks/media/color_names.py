"""Names of the color properties of frames."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.media.reading import Color

# ITU-T H.273, with FFmpeg's names.
_MATRICES: Mapping[int, str] = {
    0: "gbr", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco", 9: "bt2020nc",
    10: "bt2020c", 14: "ictcp",
}  # fmt: skip
_PRIMARIES: Mapping[int, str] = {
    1: "bt709", 4: "bt470m", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "film", 9: "bt2020", 11: "smpte431",
    12: "smpte432",
}  # fmt: skip
_TRANSFERS: Mapping[int, str] = {
    1: "bt709", 4: "gamma22", 5: "gamma28", 6: "smpte170m", 7: "smpte240m", 8: "linear", 11: "iec61966-2-4",
    13: "iec61966-2-1", 14: "bt2020-10", 15: "bt2020-12", 16: "smpte2084", 18: "arib-std-b67",
}  # fmt: skip
_RANGES: Mapping[int, str] = {1: "limited", 2: "full"}


def describe_color(color: Color) -> str:
    """Return the color properties in words: ``matrix/primaries/transfer/range``, ``unknown`` for those not stated."""
    names = (
        _MATRICES.get(color.matrix),
        _PRIMARIES.get(color.primaries),
        _TRANSFERS.get(color.transfer),
        _RANGES.get(color.range),
    )
    return "/".join(name or "unknown" for name in names)
