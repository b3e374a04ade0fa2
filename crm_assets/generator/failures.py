"""The kinds of request that must fail."""

from __future__ import annotations

from collections.abc import Callable

from crm_assets.generator import bad_requests, refusals
from crm_assets.generator.conversation_builder import Scene

__all__ = ["FAILURES"]

FAILURES: tuple[Callable[[Scene], None], ...] = (
    refusals.amount_zero,
    bad_requests.unsupported_file,
    bad_requests.unknown_id,
    refusals.bad_enum,
    bad_requests.closed_opportunity,
    bad_requests.duplicate_email,
    bad_requests.unknown_field,
    refusals.past_close_date,
    refusals.probability_out_of_range,
    bad_requests.unknown_argument,
    refusals.amount_too_large,
    refusals.blank_name,
    bad_requests.unknown_parent,
    refusals.bad_email,
    bad_requests.bad_file_name,
    refusals.impossible_date,
)
"""Each adds the turn that must fail, and before it what it takes to get there."""
