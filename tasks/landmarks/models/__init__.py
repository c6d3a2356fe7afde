"""The model files: which there are, where they are, and that they are what they should be."""
