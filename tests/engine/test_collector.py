"""Garbage is collected less often during a run, and as before after it."""

from __future__ import annotations

import gc

import pytest

from crm_assets.engine.collector import rare_collections


def test_collections_are_rare_within_the_block_and_as_before_after_it():
    of_the_tests = gc.get_threshold()
    before = (700, 10, 10)
    gc.set_threshold(*before)
    try:
        with pytest.raises(ValueError, match="it failed"), rare_collections():
            assert gc.get_threshold()[0] > before[0]
            assert gc.get_freeze_count() > 0
            raise ValueError("it failed")
        assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
    finally:
        gc.set_threshold(*of_the_tests)
