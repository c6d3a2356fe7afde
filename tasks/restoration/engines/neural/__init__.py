"""The engine that upscales frames with a neural network in this process, between two FFmpeg processes.

``find_weights``, ``check_weights`` and ``check_device`` run before planning, ``NeuralEngine`` in the slot.
"""
