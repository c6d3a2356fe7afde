"""External programs that process images; each runs to its end, and its child processes end with it."""
