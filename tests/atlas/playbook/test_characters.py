from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_assets.atlas.playbook import characters
from crm_assets.atlas.playbook.characters import parser

PIECES = st.sampled_from(["a", "K", "s", "i", "é", "ß", "٣", "0-9", "a-f", "X-Z", "À-ÿ", "!-z", "-"])
CLASSES = st.sampled_from([r"\d", r"\D", r"\w", r"\W", r"\s", r"\S"])
SETS = st.builds(
    lambda negated, pieces: f"[{negated}{''.join(sorted(pieces, key=lambda piece: piece == '-'))}]",
    st.sampled_from(["", "^"]),
    st.sets(PIECES | CLASSES, min_size=1, max_size=4),
)
ITEMS = SETS | CLASSES | st.sampled_from([".", "k", "S", "I", "é", r"\-", "\u212a", "ſ", "İ", "ı"])
# The foreign ones are what case-insensitivity makes k, s and i of, and one of each kind.
CHARACTERS = [chr(code) for code in range(128)] + list("\u212aſİıéß٣\u00a0€")


def mask(pattern: str) -> int:
    (item,) = parser.parse(pattern, re.IGNORECASE)
    return characters.mask(item)


@settings(max_examples=80, derandomize=True, database=None)
@given(ITEMS, ITEMS)
def test_parts_that_can_match_the_same_character_share_a_bit(one: str, other: str):
    first, second = re.compile(one, re.IGNORECASE), re.compile(other, re.IGNORECASE)
    if any(first.fullmatch(letter) and second.fullmatch(letter) for letter in CHARACTERS):
        assert mask(one) & mask(other), (one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "b"),
        (r"\w", r"\s"),
        (r"\d", r"\D"),
        ("[^a-z0-9]", "5"),
        (r"\s", "k"),
        ("[0-9,]", "[a-z]"),
        ("é", " "),
    ],
)
def test_parts_that_exclude_each_other_share_none(one: str, other: str):
    assert not mask(one) & mask(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("k", "K"), ("[X-Z]", "y"), ("k", r"[^\x00-\x7f]"), ("s", "ſ"), (r"\w", "é"), (".", "€")],
)
def test_case_makes_no_difference(one: str, other: str):
    assert mask(one) & mask(other)
