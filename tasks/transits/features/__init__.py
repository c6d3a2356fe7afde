"""The 27 features of a candidate: measured, or masked with a reason."""

from __future__ import annotations

from tasks.transits.features.measure import measure
from tasks.transits.features.values import Evidence, Features, masked_features

__all__ = ["Evidence", "Features", "masked_features", "measure"]
