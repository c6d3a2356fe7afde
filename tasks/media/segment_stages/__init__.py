"""Shared parts of stages that process a video in segments: the work, the join, the preview and the gallery."""
