"""Garbage is collected less often during a run, and as before after it."""

from __future__ import annotations

import gc

import pytest

from crm_assets.engine.collector import rare_collections


def test_collections_are_rare_within_the_block_and_as_before_after_it():
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with pytest.raises(ValueError, match="it failed"), rare_collections():
        assert gc.get_threshold()[0] > before[0]
        assert gc.get_freeze_count() > frozen
        raise ValueError("it failed")
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
