from __future__ import annotations

import time

import pytest

from crm_assets.atlas.playbook import Cue, cue_matches, cues
from crm_assets.atlas.playbook.regex_safety import LONGEST_TEXT


@pytest.mark.parametrize(
    ("pattern", "text", "comes_up"),
    [
        ("clone, duplicate", "Please DUPLICATE it.", True),
        ("clone|duplicate", "Make a clone", True),
        ("clone, duplicate", "cyclone", False),
        ("update", "I updated it", True),
        ("add", "The address is wrong", False),
        ("add", "Add a note", True),
        ("look  up", "look\n up Acme", True),
        ("c++ (new)", "use C++ (new) here", True),
        (" , |", "anything", False),
        ("clone", "", False),
    ],
)
def test_a_keyword_cue_comes_up_with_one_of_its_words(pattern: str, text: str, comes_up: bool):
    assert cue_matches(Cue(type="keyword", pattern=pattern), text) is comes_up


def test_a_regex_cue_comes_up_wherever_it_is_found():
    cue = Cue(type="regex", pattern=r"\bcopy\b.*opportunity")
    assert cue_matches(cue, "Please Copy that Opportunity")
    assert not cue_matches(cue, "an opportunity to copy")


def test_a_regex_cue_is_not_looked_for_beyond_the_beginning_of_a_text():
    cue = Cue(type="regex", pattern="copy")
    assert cue_matches(cue, "x" * (LONGEST_TEXT - 4) + "copy")
    assert not cue_matches(cue, "x" * (LONGEST_TEXT - 3) + "copy")


def test_a_predicate_never_matches_by_itself():
    assert not cue_matches(Cue(type="predicate", pattern="copy"), "copy")


@pytest.mark.parametrize("pattern", ["(", r"(a+)+$", r"(\w+)\1"])
def test_an_unsafe_pattern_of_another_program_is_never_tried(pattern: str):
    started = time.process_time()
    assert not cue_matches(Cue(type="regex", pattern=pattern), "a" * 40 + "!")
    assert time.process_time() - started < 0.5


def test_a_match_that_takes_too_long_is_stopped(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cues, "regex_problem", lambda pattern: None)
    cues._regex.cache_clear()
    try:
        started = time.process_time()
        assert not cue_matches(Cue(type="regex", pattern=r"(a|a)+$"), "a" * 300 + "!")
        assert time.process_time() - started < 2
    finally:
        cues._regex.cache_clear()
