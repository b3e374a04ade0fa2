"""Tests of the CRM: fields, tools, operations, sandboxes, seeds."""
