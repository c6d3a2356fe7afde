"""What the flows schedule, and the code that it runs."""
