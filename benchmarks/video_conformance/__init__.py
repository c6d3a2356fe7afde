"""Parts of the benchmark ``benchmarks/conformance.py``."""
