"""What others wrote is shown without harm: properties of the one function that cleans it."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casemate.core.errors import Error
from casemate.core.text import clean, clean_values

HOSTILE = (
    st.text(
        st.one_of(
            st.characters(),
            st.sampled_from("\x1b\x9b\x9d\x07[]PX^_;0m\u202e\u2066\u200b\ufeff\r\n\t\x00"),
        )
    )
    | st.text()
)


@given(HOSTILE, st.integers(0, 40), st.booleans())
def test_nothing_that_a_terminal_obeys_is_left(text, most, lines):
    shown = clean(text, most, lines=lines)
    assert len(shown) <= most
    kept = "\n\t\u200c\u200d" if lines else "\u200c\u200d"
    assert not [
        c
        for c in shown
        if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and c not in kept
    ]
    assert clean(shown, most, lines=lines) == shown


@given(st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])))
def test_what_is_fit_to_be_shown_stays_as_it_is(text):
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07done", "done"),
        ("\x1b]52;c;cm0gLXJm\x1b\\done", "done"),
        ("\x9d0;title\x9cdone", "done"),
        ("\x1bP1$r\x1b\\done", "done"),
        ("\x1b\x1b[2J[2Jx", "?[2Jx"),
        ("a\u202etxt.exe", "a?txt.exe"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
    ],
)
def test_escape_sequences_go_as_a_whole(text, shown):
    assert clean(text) == shown


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | HOSTILE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HOSTILE, inner, max_size=4),
    max_leaves=12,
)


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from texts(item)


@given(JSON)
def test_every_text_in_a_result_is_cleaned_and_all_else_stays(value):
    cleaned = clean_values(value)
    assert all(clean(text, lines=True) == text for text in texts(cleaned))
    assert type(cleaned) is type(value)
    if not list(texts(value)):
        assert cleaned == value


def test_a_result_without_end_is_refused():
    value = []
    for _ in range(100):
        value = [value]
    with pytest.raises(ValueError, match="deep"):
        clean_values(value)


def test_faults_that_quote_foreign_files_are_cleaned_too():
    assert Error("\x1b[2Jname\u202e", hint="h").diagnostics() == "error[CM-ERROR]: name?\n  hint: h"
