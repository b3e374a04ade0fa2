"""Tests of crm_assets.resources."""
