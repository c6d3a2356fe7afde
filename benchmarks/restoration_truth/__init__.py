"""Tapes made of clean clips, restored, and compared with what they were made of."""
