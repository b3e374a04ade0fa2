"""Where a project keeps its things: datasets, baselines, keys, manifests, files."""
