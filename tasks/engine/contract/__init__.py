"""The part of the engine that stages and flows may use: items, stages, errors, options and manifests."""
