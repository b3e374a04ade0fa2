"""The kinds of request that must fail."""

from __future__ import annotations

from collections.abc import Callable

from crm_assets.generator import bad_requests, bad_values
from crm_assets.generator.conversation_builder import Scene

__all__ = ["FAILURES"]

FAILURES: tuple[Callable[[Scene], None], ...] = (
    bad_values.amount_zero,
    bad_requests.unsupported_file,
    bad_requests.unknown_id,
    bad_values.bad_enum,
    bad_requests.closed_opportunity,
    bad_requests.duplicate_email,
    bad_requests.unknown_field,
    bad_values.past_close_date,
    bad_values.probability_out_of_range,
    bad_requests.unknown_argument,
    bad_values.amount_too_large,
    bad_values.blank_name,
    bad_requests.unknown_parent,
    bad_values.bad_email,
    bad_requests.bad_file_name,
    bad_values.impossible_date,
)
"""Each adds the turn that must fail, and before it what it takes to get there."""
