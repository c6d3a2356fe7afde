"""Probing, decoding and encoding video, shared by the video stages."""
