"""The stages of overlay_removal: what lies over a video's picture is found and taken away. No Prefect, no Dask."""
