"""Tests of crm_assets.checks."""
