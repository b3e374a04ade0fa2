"""Tests of crm_assets.defs.resources."""
