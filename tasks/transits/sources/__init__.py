"""Where light curves come from: the archive MAST, through a cache that runs share."""
