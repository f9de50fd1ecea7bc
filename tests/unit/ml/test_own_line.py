"""What is believed of a process that holds a model's own code: numbers of the expected shape."""

import os
import struct
import threading

import msgspec
import numpy as np
import pandas as pd
import pytest

from casemate.core.errors import VerificationError
from casemate.core.types import ColumnSchema, Schema
from casemate.ml.own.asked import AskedModel, OwnCodeFailed
from casemate.ml.own.line import MAX_HEAD, Gone, Head, Line, Silent, packed, unpacked

SCHEMA = Schema(
    target="y",
    classes=["no", "yes"],
    columns=[ColumnSchema(name="a", type="number"), ColumnSchema(name="y", type="category")],
)
FILES = {"model.skops": b"a model", "own_code/features.py": b"x = 1\n"}
FRAME = pd.DataFrame({"a": [1.0, 2.0, 3.0]})
LABELS = np.array([0, 1, 1], "<i8").tobytes()
PROBABILITIES = np.array([[1, 0], [0, 1], [0.4, 0.6]], "<f8").tobytes()


class Other:
    """The other side, which says what a test wants."""

    def __init__(self, *answers):
        theirs_read, write = os.pipe()
        read, theirs_write = os.pipe()
        self.line, self.theirs = Line(read, write), Line(theirs_read, theirs_write)
        self.heard = []
        self.thread = threading.Thread(target=self._talk, args=(answers,), daemon=True)
        self.thread.start()

    def _talk(self, answers):
        try:
            for answer in answers:
                self.heard.append(self.theirs.receive())
                for message in answer if isinstance(answer, list) else [answer]:
                    if isinstance(message, bytes):
                        os.write(self.theirs.write, message)
                    else:
                        self.theirs.send(*message)
        except (Gone, BrokenPipeError):  # whoever waits for nothing more hangs up
            return
        self.theirs.close()


LOADED = (Head(what="done", classes=[0, 1], names=["a"]),)


def asked(*answers, **options) -> AskedModel:
    return AskedModel(Other(LOADED, *answers).line, FILES, SCHEMA, **options)


def test_frames_travel_as_they_are():
    frame = pd.DataFrame({"a": [1.5, np.nan], "b": ["x", "(missing)"]}).astype({"b": object})
    again = unpacked(packed(frame))
    assert again.dtypes.tolist() == frame.dtypes.tolist()
    assert again.equals(frame)
    assert packed(frame.iloc[[1, 0]]) == packed(again.iloc[[1, 0]])


def test_an_answer_of_the_expected_shape_is_taken():
    model = asked((Head(what="done", shape=[3, 2]), [LABELS, PROBABILITIES]))
    labels, probabilities = model.predict(FRAME)
    assert labels.tolist() == [0, 1, 1]
    assert probabilities.shape == (3, 2)
    probabilities[0] = 0  # whoever measures may write to it


@pytest.mark.parametrize(
    "answer",
    [
        (Head(what="done", shape=[3, 2]), [LABELS]),
        (Head(what="done", shape=[2, 3]), [LABELS, PROBABILITIES]),
        (Head(what="done", shape=[3, 3]), [LABELS, PROBABILITIES]),
        (Head(what="done", shape=[3, 2]), [LABELS[:8], PROBABILITIES]),
        (Head(what="done", shape=[3, 2]), [LABELS, PROBABILITIES[:-1]]),
        (Head(what="done", shape=[-3, -2]), [LABELS, PROBABILITIES]),
        (Head(what="done", shape=[3, 2]), [LABELS, PROBABILITIES + b"\0" * 100]),
        (Head(what="certainly", shape=[3, 2]), [LABELS, PROBABILITIES]),
        struct.pack("<I", MAX_HEAD + 1),
        struct.pack("<I", 4) + b"null",
        struct.pack("<I", 4) + b"{[}]",
        struct.pack("<I", 12) + b'{"sizes":[9]',
        struct.pack("<I", 14) + b'{"sizes":[-1]}',
        struct.pack("<I", 17) + b'{"sizes":[999999]}'[:17],
        b"\x01",
        [(Head(what="finding"),)] * 1001,
    ],
)
def test_anything_else_is_no_answer_and_never_waited_for(answer):
    with pytest.raises(OwnCodeFailed):
        asked(answer).predict(FRAME)


def test_what_the_code_says_of_its_fault_is_quoted_nowhere():
    said = [
        (Head(what="failed", text="ValueError: patient 17 is 61 years old"),),
        (Head(what="failed", text="Patient17Is61: x"),),
        (Head(what="failed", text="ValueError: Input X contains NaN."),),
    ]
    model = asked(*said)
    told = []
    for _ in said:
        with pytest.raises(OwnCodeFailed) as caught:
            model.predict(FRAME)
        told.append(str(caught.value))
    assert told == [
        "the model's own code failed: ValueError",
        "the model's own code failed",
        "the model's own code failed: ValueError; the model does not take missing values",
    ]


def test_what_it_tried_is_heard_before_its_answer():
    heard = []
    finding = {"id": "sandbox.network", "severity": "high", "message": "m", "location": ""}
    model = asked(
        [
            (Head(what="finding", finding=finding),),
            (Head(what="done", shape=[3, 2]), [LABELS, PROBABILITIES]),
        ],
        heard=heard.append,
    )
    assert model.predict(FRAME)[0].tolist() == [0, 1, 1]
    assert heard == [finding]


def test_a_process_that_cannot_read_the_model_or_ends_is_a_refusal():
    for answer in ((Head(what="failed", text="ImportError: x"),), b""):
        with pytest.raises(VerificationError, match="could not be read with its own code"):
            AskedModel(Other(answer).line, FILES, SCHEMA)


def test_whoever_says_nothing_is_waited_for_no_longer_than_was_said():
    read, write = os.pipe()
    line = Line(read, write)
    line.seconds = 0.01
    with pytest.raises(Silent):
        line.receive()
    line.close()
    with pytest.raises(Gone):
        line.receive()


def test_the_model_and_its_code_are_handed_over_as_they_are_signed():
    other = Other(LOADED)
    AskedModel(other.line, FILES, SCHEMA, [1, 0], own=False)
    other.thread.join()
    ((head, parts),) = other.heard
    assert parts == [b"a model", b"x = 1\n"]
    assert (head.names, head.order, head.own) == (["own_code/features.py"], [1, 0], False)
    assert msgspec.json.encode(head)
