"""Drives a Dagster instance: runs the lineage, backfills, storage, launcher, event log."""
