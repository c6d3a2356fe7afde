"""The output folder: locks, records and published files."""
