"""Text from outside, in each tracker's notation: it is read again as it was, and does nothing."""

import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from casemate.core.text import clean
from casemate.respond.trackers import markup
from casemate.respond.trackers.guard import MAX_COMMENT, alike, heard
from casemate.respond.trackers.interface import Comment

TEXTS = st.text(st.characters(codec="utf-8"), max_size=300).map(lambda t: clean(t, lines=True))
SIGNS = st.text("`~@#/!*_[]{}<>\\|&;:$%^+-.\n ah1", max_size=80)

LINES = st.lists(
    st.sampled_from(["```", "````", "~~~", "``` x", "    a", "@all", "/close", "", "</pre>", "> b"])
).map("\n".join)


@given(TEXTS | SIGNS | LINES)
def test_markdown_shows_any_text_as_one_block_of_code_and_nothing_else(text):
    (token,) = MarkdownIt("commonmark", {"html": True}).parse(markup.fenced(text))
    assert token.type == "fence"
    assert token.content == text + "\n"


@given(TEXTS | SIGNS)
def test_a_document_has_paragraphs_of_bare_text_and_says_the_same(text):
    document = markup.document(text)
    assert document["type"] == "doc"
    for paragraph in document["content"]:
        assert paragraph["type"] == "paragraph"
        for node in paragraph["content"]:
            assert node == {"type": "hardBreak"} or (
                set(node) == {"type", "text"} and node["type"] == "text" and node["text"]
            )
    assert alike(markup.plain(document), text)


@given(TEXTS | SIGNS)
def test_wiki_text_has_no_sign_that_is_not_escaped(text):
    escaped = markup.wiki(text)
    left = re.sub(r"\\.", "", escaped)
    assert not re.search(r"[{}\[\]*_+^~?|!#@&<>-]", left)
    assert not re.search(r"^\s*(h[1-6]|bq)\.", escaped, re.MULTILINE)
    assert re.sub(r"\\(.)", r"\1", escaped).replace(markup.JOINER, "") == text.replace(
        markup.JOINER, ""
    )


def test_what_would_ping_somebody_or_run_something_is_no_longer_there():
    for text in ("[~admin]", "[~accountid:5b10]", "{html}<script>", "!http://x/y.png!", "{code}"):
        assert text not in markup.wiki(text)
    for title in ("@all", "fix #12", "/close", "~bug", ":shrug:", "![x](y)", "see !3", "<b>"):
        quiet = markup.quiet(title)
        assert title not in quiet
        assert quiet.replace(markup.JOINER, "") == title
    assert markup.quiet("100 % of rows, 3 @ 4") == "100 % of rows, 3 @ 4"
    assert len(markup.quiet("@" * 200)) == 200


def test_what_people_write_in_documents_is_read_and_depth_is_bounded():
    paragraph = [
        {"type": "text", "text": "See "},
        {"type": "mention", "attrs": {"id": "1", "text": "@Ben"}},
        {"type": "emoji", "attrs": {"shortName": ":ok:"}},
        {"type": "hardBreak"},
        {"type": "inlineCard", "attrs": {"url": "https://x.test"}},
    ]
    listed = {"type": "bulletList", "content": [
        {"type": "listItem", "content": [{"type": "paragraph", "content": paragraph}]}
    ]}  # fmt: skip
    assert markup.plain({"type": "doc", "content": [listed]}) == "See @Ben:ok:\nhttps://x.test"
    deep = {"type": "text", "text": "x"}
    for _ in range(5_000):
        deep = {"type": "blockquote", "content": [deep]}
    assert markup.plain(deep) == ""
    for odd in (None, 7, [], {"content": 7}, {"attrs": 7, "type": "mention"}):
        assert markup.plain(odd) == ""


def test_a_strangers_comment_is_bounded_and_drives_no_terminal():
    said = heard(
        Comment(
            id="1",
            author="b\x1b[2J",
            own=False,
            created="now\n",
            text="\x1b]0;x\x07" + "y" * 20_000,
        )
    )
    assert said.author == "b"
    assert said.created == "now "
    assert said.text == "y" * MAX_COMMENT
