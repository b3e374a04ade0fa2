"""Benchmarks: run `make bench`; what they print stands in docs/performance.md."""
