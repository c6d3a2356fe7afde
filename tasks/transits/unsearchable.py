"""Reasons why a light curve cannot be searched."""

from __future__ import annotations

from typing import Literal, TypeAlias

Reason: TypeAlias = Literal["too_few_points", "constant_flux", "nonpositive_flux", "short_baseline"]


class Unsearchable(Exception):
    """The light curve is readable but cannot be searched: a row of the table with a reason, not a failure.

    ``reason`` is a word for the table:

    too_few_points    too few cadences of good quality with a finite flux
    constant_flux     the flux does not scatter at all: filled in, saturated or rounded away
    nonpositive_flux  the median flux of every segment is zero or negative, so a transit would be a brightening
    short_baseline    the baseline is too short for two transits at the minimum period
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}")
