"""What is heard of a job in the sandbox, and what is said of one that failed: foreign words are bounded,
cleaned and never believed beyond their form.
"""

import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from casemate.core.errors import SandboxError
from casemate.core.sandbox import conversation, supervise
from casemate.core.sandbox.conversation import MAX_LOG, Conversation, converse
from casemate.core.sandbox.failure import JobFailed, JobLimits, failure

FIRST = {"isolation": ["landlock", "seccomp"]}


def heard(*messages, seconds=30.0, progress=None, code="", read=(), write=()):
    """What is heard of a real process that writes these lines."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in messages]
    text = f"import sys, time, os\nsys.stdout.write({chr(10).join([*lines, '']) if lines else ''!r})\nsys.stdout.flush()\n"
    child = subprocess.Popen(
        [sys.executable, "-c", text + code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    job = SimpleNamespace(
        stdin=child.stdin,
        stdout=child.stdout,
        stderr=child.stderr,
        server=SimpleNamespace(ended=child.poll),
    )
    found = Conversation(list(read), list(write))
    try:
        converse(job, b"{}", seconds, progress, found)
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
        child.stderr.close()
    return found


def test_a_result_ends_the_conversation_however_long_the_process_stays():
    began = time.monotonic()
    found = heard(FIRST, {"result": {"a": 1}}, code="time.sleep(60)")
    assert (found.result, found.error, found.stopped) == ({"a": 1}, None, "")
    assert found.isolation == FIRST["isolation"]
    assert time.monotonic() - began < 59


def test_of_an_error_only_its_texts_are_kept_and_they_are_bounded():
    told = {"kind": "ValueError", "message": "x" * (MAX_LOG + 9), "more": "y"}
    found = heard(FIRST, {"error": told})
    assert set(found.error) == {"kind", "message", "traceback"}
    assert (found.error["kind"], found.error["traceback"]) == ("ValueError", "")
    assert len(found.error["message"]) == MAX_LOG


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        "[" * 5000,
        '{"progress": 7}',
        '{"progress": {"text": "x"}}',
        '{"result": 7}',
        '{"error": "x"}',
        '{"finding": {"id": "x"}}',
        '{"finding": 7}',
        "{}",
    ],
)
def test_a_message_that_is_malformed_is_passed_over(line):
    found = heard(FIRST, line, {"result": {}})
    assert (found.result, found.error, found.findings) == ({}, None, [])


def test_nothing_counts_before_it_is_known_how_the_job_is_confined():
    found = heard({"result": {"a": 1}}, FIRST)
    assert (found.result, found.isolation) == (None, FIRST["isolation"])


def test_progress_is_cleaned_bounded_and_told_so_often_at_the_most(monkeypatch):
    monkeypatch.setattr(conversation, "MAX_PROGRESS", 2)
    told = []
    step = {"progress": {"text": "a\u001b[2J" + "x" * 500, "done": 1, "total": 2}}
    found = heard(FIRST, *[step] * 3, {"result": {}}, progress=lambda *words: told.append(words))
    assert found.steps == 3
    assert len(told) == 2
    text, done, of = told[0]
    assert (done, of, "\x1b" in text, len(text) <= 200) == (1, 2, False, True)


def test_a_job_that_says_nothing_is_stopped_when_its_time_is_up():
    assert heard(FIRST, seconds=0.3, code="time.sleep(60)").stopped == "timeout"
    closed = "os.close(1); os.close(2); time.sleep(60)"
    assert heard(FIRST, seconds=0.5, code=closed).stopped == "timeout"


def test_a_job_that_says_too_much_is_stopped(monkeypatch):
    monkeypatch.setattr(conversation, "MAX_MESSAGE", 1000)
    assert heard(FIRST, "x" * 2000, code="time.sleep(60)").stopped == "flood"


def test_of_what_a_job_printed_the_end_is_kept():
    found = heard(FIRST, code=f"sys.stderr.write('a' * {MAX_LOG} + 'end')")
    assert (len(found.log), found.log[-3:], found.result) == (MAX_LOG, b"end", None)


def attempt(path, kind="sandbox.read", **more):
    finding = {"id": kind, "severity": "medium", "message": "tried", "location": str(path)}
    return {"finding": {**finding, "confidence": "low", **more}}


def test_an_attempt_counts_where_there_was_something_to_be_had(tmp_path):
    kind = sorted(conversation.ATTEMPTS)[0]
    (tmp_path / "mine").mkdir()
    (tmp_path / "secret").write_text("x")
    os.symlink(tmp_path / "secret", tmp_path / "mine" / "link")
    found = heard(
        FIRST,
        attempt(tmp_path / "secret", kind),
        attempt(tmp_path / "secret", kind),
        attempt(tmp_path / "mine" / "link", kind),
        attempt(tmp_path / "mine" / "inside", kind),
        attempt(tmp_path / "absent", kind),
        attempt("/" + "x" * 10**5, kind),
        read=[str(tmp_path / "mine")],
    )
    (one,) = found.findings
    assert (one.id, one.confidence, one.location) == (kind, "high", "")


def test_findings_are_cleaned_and_so_many_of_each_severity_are_kept(monkeypatch):
    monkeypatch.setattr(conversation, "MAX_FINDINGS", 2)
    many = [
        attempt("x" * 900, f"code.{n}", severity=severity, message="\u001b" + "m" * 900)
        for severity in ("low", "high")
        for n in range(5)
    ]
    found = heard(FIRST, *many)
    assert [one.severity for one in found.findings] == ["low"] * 2 + ["high"] * 2
    assert all(
        "\x1b" not in one.message and len(one.message) <= 500 and len(one.location) <= 200
        for one in found.findings
    )


# What is said of a job without a result


LIMITS = JobLimits(60.0, 2**30)
CONFINED = ["root", "landlock", "seccomp", "capabilities"]


def said(code=0, isolation=(), **more):
    words = Conversation([], [], isolation=list(isolation))
    for name, value in more.items():
        setattr(words, name, value)
    return failure(words, code, LIMITS)


@pytest.mark.parametrize(
    ("more", "kind", "text", "seen"),
    [
        ({"stopped": "timeout"}, "timeout", "did not finish within 60 s", True),
        ({"stopped": "flood"}, "limit", "said more than", True),
        ({"code": -9, "log": b"a\nlast words"}, "killed", "(exit -9): a\nlast words", True),
        ({"code": 1}, "killed", "the code's process died (exit 1)", True),
        ({"code": supervise.MEMORY}, "limit", "", True),
        ({"code": supervise.FILES}, "limit", "", True),
        (
            {"error": {"kind": "MemoryError", "message": "m", "traceback": ""}},
            "MemoryError",
            "the code ran out of memory: m",
            False,
        ),
        (
            {"error": {"kind": "ValueError", "message": "m", "traceback": "line 3"}},
            "ValueError",
            "ValueError: m",
            False,
        ),
    ],
)
def test_why_a_job_failed_is_told_as_it_was_seen_or_as_the_code_said(more, kind, text, seen):
    error = said(**more)
    assert isinstance(error, JobFailed)
    assert (error.kind, error.from_outside) == (kind, seen)
    assert text in error.message
    assert error.hint
    if not seen:
        assert error.plain == "the training code failed", "what the code says may quote rows"


def test_every_limit_of_the_whole_job_says_what_to_do():
    found = {code: said(code=code) for code in supervise.CODES}
    assert len({error.message for error in found.values()}) == len(found)
    assert all(error.kind == "limit" and error.hint for error in found.values())


def test_only_an_unconfined_kernel_is_believed_to_be_one():
    told = {"kind": "sandbox", "message": "no", "traceback": ""}
    error = said(error=told, isolation=["seccomp"])
    assert isinstance(error, SandboxError)
    assert "only seccomp work here" in error.message
    error = said(error=told, isolation=CONFINED)
    assert isinstance(error, JobFailed), "the code said it of itself"
