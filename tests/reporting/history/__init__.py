"""Tests of crm_assets.history."""
