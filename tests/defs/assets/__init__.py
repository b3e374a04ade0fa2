"""Tests of crm_assets.defs.assets."""
