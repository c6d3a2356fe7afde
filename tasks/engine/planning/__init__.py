"""Which items a run must do, and how many at a time."""
