"""Tests of crm_assets.reporting.history."""
