"""The stages that each flow runs once its inputs are read."""
