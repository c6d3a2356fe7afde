"""The stages of overlay_removal, which detects and removes overlays in videos. No Prefect, no Dask."""
