"""Programs of the user's that work on pictures: run to their end, with nothing left behind."""
