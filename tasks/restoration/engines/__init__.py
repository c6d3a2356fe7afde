"""The engines that restore segments: FFmpeg, an external program, a neural network. Interface: ``base.Engine``."""
