"""Tests of what is learnt: gates, pamphlets, usage, pruning, merging."""
