"""Tests of crm_assets.defs.checks."""
