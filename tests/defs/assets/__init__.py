"""Tests of crm_assets.assets."""
