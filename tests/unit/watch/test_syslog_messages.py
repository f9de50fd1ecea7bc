"""RFC 5424: whatever a line says, it is one message that any parser takes apart again."""

import re

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.watch.test_spool import line

from casemate.watch.sinks.syslog import MOST_FRAME, frame, message, printable

SHAPE = re.compile(
    r"<(\d{1,3})>1 (\S+) (\S{1,255}) (\S{1,48}) (\S{1,128}) (\S{1,32})"
    r" \[casemate@32473((?: [!-<>-~]{1,32}=\"(?:[^\"\\\]]|\\.)*\")*)\] (.*)"
)
PARAMETER = re.compile(r' ([!-<>-~]{1,32})="((?:[^"\\\]]|\\.)*)"')


def parsed(content):
    found = SHAPE.fullmatch(content)
    assert found, content
    values = {
        name: re.sub(r"\\([\"\\\]])", r"\1", value) for name, value in PARAMETER.findall(found[7])
    }
    return found, values


@given(st.text(max_size=300), st.text(max_size=200), st.text(max_size=300), st.text(max_size=30))
def test_any_line_is_one_message_without_control_characters_and_its_values_come_back(
    text, user, resource, host
):
    content = message(line(1, message=text, user=user, resource=resource), host).decode()
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202e]", content)
    found, values = parsed(content)
    assert values.get("user.name", "") == printable(user)
    assert values.get("labels.resource", "") == printable(resource[:255])
    assert found[8].removeprefix("\ufeff") == printable(text)
    assert found[1] == str(13 * 8 + 6)


@given(st.text(max_size=2000))
def test_a_frame_is_as_long_as_it_says_and_no_longer_than_receivers_take(text):
    length, _, content = frame(line(1, message=text * 3), "h").partition(b" ")
    assert int(length) == len(content) <= MOST_FRAME
    content.decode()


def test_a_line_that_names_its_own_node_is_told_under_it():
    found, _ = parsed(message(line(1, node="ml 1/gateway"), "h").decode())
    assert found[3] == "ml?1/gateway"
