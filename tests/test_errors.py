from __future__ import annotations

import pytest

from crm_assets.errors import first_line, last_line


@pytest.mark.parametrize(
    ("error", "first", "last"),
    [
        (ValueError("\n one \n two\nthree\n"), "one", "three"),
        (KeyError(), "KeyError", "KeyError"),
        (TimeoutError("  \n "), "TimeoutError", "TimeoutError"),
        ("only text\nand more", "only text", "and more"),
    ],
)
def test_an_error_is_named_by_one_line(error: object, first: str, last: str) -> None:
    assert (first_line(error), last_line(error)) == (first, last)
