"""Detection without training: edges that stay while the frame changes."""
