"""The flows that users run, one module per flow: its parameters, and how its inputs are read."""
