"""What a stage and a flow may know of the engine: items, stages, errors, options and manifests."""
