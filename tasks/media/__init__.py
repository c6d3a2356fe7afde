"""Probing, decoding and encoding of video: shared by the video stages."""
