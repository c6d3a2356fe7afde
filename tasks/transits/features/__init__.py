"""Measures the 27 features of a candidate, or masks them with a reason."""

from __future__ import annotations

from tasks.transits.features.measure import measure
from tasks.transits.features.values import Evidence, Features, mask_all_features

__all__ = ["Evidence", "Features", "mask_all_features", "measure"]
