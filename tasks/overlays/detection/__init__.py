"""Finding what lies over a picture: without training, by a model, or as the user says."""
