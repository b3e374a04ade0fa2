from __future__ import annotations

import email.utils
import random
import time

import pytest

from crm_assets.llm import RetryPolicy
from crm_assets.llm.failures import retry_after_seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "x", "retry-after": "2"}, 2.0),
        ({}, None),
    ],
)
def test_how_long_to_wait_is_read_from_the_headers(headers: dict[str, str], seconds: float | None):
    assert retry_after_seconds(headers) == seconds


def test_a_date_to_wait_for_is_read():
    later = email.utils.formatdate(time.time() + 30, usegmt=True)
    assert retry_after_seconds({"retry-after": later}) == pytest.approx(30, abs=2)
    assert retry_after_seconds({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0.0
    assert retry_after_seconds({"retry-after": "Thu, 99 Foo 1970"}) is None


def test_waits_grow_are_jittered_and_end():
    policy = RetryPolicy(base_seconds=0.5, longest_seconds=10.0)
    dice = random.Random(1)
    for failures, longest in ((1, 0.5), (2, 1.0), (4, 4.0), (9, 10.0), (5_000, 10.0)):
        waits = [policy.delay_seconds(failures, dice) for _ in range(200)]
        assert 0.9 * longest < max(waits) <= longest
        assert min(waits) < 0.1 * longest
