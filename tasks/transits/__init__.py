"""Stages of exoplanet_features: fetch light curves, search them for transits, and measure the transits' features."""
