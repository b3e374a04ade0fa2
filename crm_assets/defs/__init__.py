"""Define what Dagster loads: assets, checks, resources, partitions, jobs, sensors; no logic of its own."""
