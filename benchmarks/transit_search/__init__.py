"""The parts of the transit benchmark; ``benchmarks/transits.py`` runs them."""
