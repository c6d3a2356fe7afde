"""The flows: what people run."""
