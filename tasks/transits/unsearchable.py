"""Why no planet can be searched in a light curve."""

from __future__ import annotations

from typing import Literal, TypeAlias

Reason: TypeAlias = Literal["too_few_points", "constant_flux", "nonpositive_flux", "short_baseline"]


class Unsearchable(Exception):
    """The light curve was read, but nothing can be searched in it: a row of the table with a reason, not a failure.

    ``reason`` is one of a few words, for the table:

    too_few_points    too few cadences of good quality with a finite flux
    constant_flux     the flux does not scatter at all: filled in, saturated or rounded away
    nonpositive_flux  the median flux of every segment is zero or negative: over it, a transit would be a brightening
    short_baseline    from the first point to the last there is no room for two transits of the shortest period
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}")
