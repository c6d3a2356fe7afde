"""The engine that lets a network enlarge each frame, in this process, between two runs of FFmpeg.

``find_weights`` and ``weights_problems`` and ``gpu_problems`` at the door; ``NeuralEngine`` in the slot.
"""
