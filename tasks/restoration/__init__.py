"""The stages of vhs_batch: what is wrong with a tape, and what is done about it."""
