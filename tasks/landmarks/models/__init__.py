"""Model files: the official ones, where to find them, and checks of their contents."""
