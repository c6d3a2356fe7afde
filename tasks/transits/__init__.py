"""The stages of exoplanet_features: from a target to its light curve, its transit candidates and their features."""
