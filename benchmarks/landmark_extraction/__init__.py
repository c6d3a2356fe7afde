"""The parts of ``benchmarks/landmarks.py``."""
