"""What Dagster loads: assets, checks, resources, partitions, jobs and sensors; no logic of its own."""
