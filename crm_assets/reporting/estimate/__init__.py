"""The estimate of a run's cost, with a range: from its conversations, earlier runs and prices."""
