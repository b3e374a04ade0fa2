"""Tests of the database settings, the embedded server and the logical databases."""
