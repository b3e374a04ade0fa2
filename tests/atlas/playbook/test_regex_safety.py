from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crm_assets.atlas.playbook import Cue, cue_matches
from crm_assets.atlas.playbook.cues import _TIMEOUT_SECONDS
from crm_assets.atlas.playbook.regex_safety import LONGEST_PATTERN, LONGEST_TEXT, regex_problem

CATASTROPHIC = [
    r"(a+)+$",
    r"(a*)*b",
    r"(a|a)+$",
    r"(a|aa)+$",
    r"(a|ab|b)+$",
    r"(.*)*x",
    r"(\w+\s?)+$",
    r"(?:a?){30}a{30}",
    r"(\s*,\s*)*x",
    r"([a-z]+)*\d",
    r"(x+x+)+y",
    r"(.*a){20}",
    r"(\w*\d*)*!",
    r"((ab)*)*c",
    r"(\d+)*-",
    r".*a.*b.*c.*d",
    r"\s*\s*\s*\s*x",
    r".*a.*b.*c",
    r"(?m)^.*a.*b.*c",
    r".*x.*(?=.*y)z",
    r"a+a+(?=a*b)c",
    r"^(([a-z])+.)+[A-Z]([a-z])+$",
    r"(?=(a+)+$)b",
    r"(?!(a+)+$)b",
    r"(?:\w+.?)+:",
    r"(a{1,400}){1,400}b",
    r"(é+)+x",
    r"(?:[^,]*,?)*x",
    r"(?:a+|[^b]+)*b",
    r"(?:[Kk]|\u212a+)+x",
    r"(?:k|[\u0100-\uffff])*(?:k|[\u0100-\uffff])*(?:k|[\u0100-\uffff])*(?:k|\w)*x",
]

ORDINARY = [
    r"\b(update|modify|change|set|move)\b.*\b(stage|status|state)\b.*\b(opportunity|deal)\b",
    r"(?i)(add|log)\s+(a\s+)?note",
    r"\$?\d+(?:,\d{3})*(?:\.\d+)?",
    r"[\w.+-]+@[\w-]+\.[\w.]+",
    r"create (a )?(new )?client",
    r"(?:\w+\s+)+client",
    r"(?:\w+\s+){0,3}client",
    r"^show me .* details$",
    r".*close.*deal.*",
    r"\b(cancel|delete)\b(?!.*quote)",
    r"find\s+(?:all\s+)?(?:the\s+)?clients?\s+(?:in|with|by)\s+\w+",
    r"(?i)\bclone\b|\bduplicate\b|\bcopy\b",
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}",
    r"upload(?:ed|ing)?\s+(?:a\s+)?(?:file|document)s?",
    r"(\w+, )*\w+ and \w+",
    r"\d{4}-\d{2}-\d{2}",
    r"(?x) create \s+ client",
    r"quote.{0,40}(reject|cancel).{0,40}opportunity",
    r"été|naïve",
    r"^.*a.*b.*c",
    r"(\w|\d)*!",
]


@pytest.mark.parametrize("pattern", CATASTROPHIC)
def test_a_pattern_that_can_explode_is_refused(pattern: str):
    assert "can take too long" in (regex_problem(pattern) or "accepted")


@pytest.mark.parametrize("pattern", ORDINARY)
def test_an_ordinary_pattern_is_accepted(pattern: str):
    assert regex_problem(pattern) is None


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(", "not a valid regular expression"),
        ("a{2,1}", "not a valid regular expression"),
        ("a{99999999999}", "not a valid regular expression"),
        ("[[a]", "not a valid regular expression"),
        (r"(\w+)\1", "back reference"),
        ("(a)?(?(1)b|c)", "back reference"),
        ("(?a)x", "flag"),
        ("x" * (LONGEST_PATTERN + 1), "longer than"),
        ("(" * 99 + ")" * 99, None),
    ],
)
def test_what_is_wrong_with_a_pattern_is_said(pattern: str, reason: str | None):
    problem = regex_problem(pattern)
    assert problem is None if reason is None else reason in (problem or "")


ATOMS = st.sampled_from(
    ["a", "b", "ab", ".", r"\w", r"\s", r"\d", "[ab]", "[^a]", "é", "k", r"\b", "$", "^", " "]
)
REPEATS = st.sampled_from(["*", "+", "?", "{2,5}", "*?", "+?", "{3}", "{0,40}"])
PATTERNS = st.recursive(
    ATOMS,
    lambda part: st.one_of(
        st.tuples(part, part).map("".join),
        st.tuples(part, REPEATS).map(lambda pair: f"(?:{pair[0]}){pair[1]}"),
        st.tuples(part, part).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
        st.tuples(st.sampled_from("=!"), part).map(lambda pair: f"(?{pair[0]}{pair[1]})"),
    ),
    max_leaves=8,
)
TEXTS = ["a" * 20_000, "ab" * 10_000, "a b " * 5_000, "k" * 20_000 + "!", " " * 20_000, "é" * 20_000]


@settings(max_examples=80, derandomize=True, database=None)
@given(PATTERNS, st.sampled_from(["", "x", "!", "$"]))
def test_an_accepted_pattern_is_through_with_a_long_text_in_time(pattern: str, end: str):
    if regex_problem(pattern + end) is not None:
        return
    cue = Cue(type="regex", pattern=pattern + end)
    for text in TEXTS:
        started = time.process_time()
        cue_matches(cue, text)
        assert time.process_time() - started < 2 * _TIMEOUT_SECONDS + 0.2


@settings(max_examples=80, derandomize=True, database=None)
@given(PATTERNS, st.sampled_from(["", "x", "!", "$"]))
def test_the_analysis_alone_bounds_the_time_of_pythons_own_matcher(pattern: str, end: str):
    if regex_problem(pattern + end) is not None:
        return
    compiled = re.compile(pattern + end, re.IGNORECASE)
    for text in TEXTS:
        started = time.process_time()
        compiled.search(text[:LONGEST_TEXT])
        assert time.process_time() - started < 10  # an explosive pattern would take years


@settings(max_examples=100, derandomize=True, database=None)
@given(st.text(max_size=60))
def test_any_text_is_a_pattern_or_is_refused(pattern: str):
    assert regex_problem(pattern) is None or isinstance(regex_problem(pattern), str)
