"""Date stamps: text lines in which some letters change."""
