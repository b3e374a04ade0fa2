"""The files of a project: datasets, baselines and their keys, manifests."""
