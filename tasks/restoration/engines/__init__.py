"""What does the work on a segment: FFmpeg's filters, a program of the user's, a network. One seam, ``base.Engine``."""
