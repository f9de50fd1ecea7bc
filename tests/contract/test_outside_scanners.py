"""Schemathesis and wapiti behind the relay: what they find in a gateway with planted faults, and that
one which is absent, crashes, hangs, prints garbage or was let in nowhere has not looked.
"""

import json
import secrets
import shutil
import socket
import struct
import sys
from pathlib import Path

import pytest
from msgspec import structs
from tests.contract.stub_gateway import DOCUMENT, Stub
from tests.contract.test_scanners import fake

from casemate.core.files import make_folder
from casemate.core.sandbox import confine
from casemate.supply.scanners.interface import Place, looked
from casemate.supply.scanners.outside.described import Turns, concrete, narrowed, roles
from casemate.supply.scanners.outside.relay import PROBE, Relay
from casemate.supply.scanners.outside.schemathesis import Schemathesis
from casemate.supply.scanners.outside.wapiti import Wapiti
from casemate.supply.scanners.running import Client, Identity

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(confine.landlock_abi() < 4, reason="this kernel bounds no connections"),
]
SCANNERS = {"schemathesis": Schemathesis, "wapiti": Wapiti}


def place(root, target, *, tools=None, seconds=120.0):
    return Place(
        make_folder(root / f"tree-{secrets.token_hex(4)}"),
        (),
        {},
        make_folder(root / f"work-{secrets.token_hex(4)}"),
        tools,
        seconds,
        target=target,
    )


def looked_by(name, root, *faults, tools=None, seconds=120.0, **more):
    stub = Stub(*faults)
    with stub.running(**more) as target:
        return looked(SCANNERS[name](), place(root, target, tools=tools, seconds=seconds)), stub


def real(name):
    if shutil.which(name, path=str(Path(sys.executable).parent)) is None:
        pytest.skip(f"{name} is not installed beside this Python")


def test_schemathesis_finds_planted_faults_as_who_it_is_told_to_be(tmp_path):
    real("schemathesis")
    found, stub = looked_by("schemathesis", tmp_path, "fails", "open")
    assert (found.answer, found.unseen) == ("found", {})
    hits = {(hit.rule, hit.path) for hit in found.hits}
    assert {
        ("schemathesis.ServerError", "gateway/v2"),
        ("schemathesis.IgnoredAuth", "gateway/v2"),
    } <= hits
    assert not any(PROBE in path for _, path in hits)
    assert "Bearer s3cret" in stub.tokens and "/v2/models/wdbc" in stub.asked


def test_wapiti_finds_a_planted_fault(tmp_path):
    real("wapiti")
    found, _ = looked_by("wapiti", tmp_path, "reflects")
    assert [(hit.rule, hit.path) for hit in found.hits] == [("wapiti.xss", "gateway/v2")]


REPORTS = {
    "schemathesis": {
        "schemathesis_version": "4.32.5",
        "stop_reason": "completed",
        "complete": True,
        "exit_code": 0,
        "operations": {"selected": 4, "tested": 4, "errored": 0, "skip_reasons": []},
        "failures": [],
        "errors": [],
    },
    "wapiti": {
        "classifications": {},
        "vulnerabilities": {},
        "anomalies": {},
        "additionals": {},
        "infos": {"version": "Wapiti 3.2.3", "crawled_pages_nbr": 9},
    },
}
PROBED = {
    "schemathesis": {
        "exit_code": 1,
        "failures": [
            {
                "type": "ServerError",
                "title": "Server error",
                "severity": "critical",
                "operations": [f"GET {PROBE}"],
            }
        ],
    },
    "wapiti": {
        "vulnerabilities": {
            "XSS": [
                {
                    "method": "GET",
                    "path": PROBE,
                    "info": "x",
                    "level": 2,
                    "module": "xss",
                    "parameter": "shown",
                }
            ]
        }
    },
}


def writes(name, report):
    """A program that writes this report, and ends as that tool would."""
    code = report.get("exit_code", 0)
    return f"open('report.json', 'w').write({json.dumps(report)!r})\nsys.exit({code})"


ASKS = """
import re, urllib.request, urllib.error
words = sys.argv
url = words[words.index("--url") + 1] if "--url" in words else words[words.index("-u") + 1]
token = ""
if "--config-file" in words:
    token = re.search('Bearer ([^"]+)', open(words[words.index("--config-file") + 1]).read())[1]
request = urllib.request.Request(url.rstrip("/") + "/v2", headers={"Authorization": "Bearer " + token})
try:
    urllib.request.urlopen(request)
except urllib.error.HTTPError:
    pass
"""
MISDEEDS = {
    "is absent": (None, "there is no"),
    "crashes": ("os.kill(os.getpid(), 11)", "was ended by signal 11"),
    "ends with an unknown code": ("sys.exit(7)", "exit code 7"),
    "hangs": ("time.sleep(600)", "did not end within"),
    "writes nothing": ("", "report.json was not written"),
    "writes garbage": ("open('report.json', 'w').write('no')", "printed something else"),
    "writes other JSON": ("open('report.json', 'w').write('[1]')", "printed something else"),
    "writes a link": ("os.symlink('/etc/passwd', 'report.json')", "report.json was not written"),
}


@pytest.mark.parametrize("name", SCANNERS)
def test_a_scanner_that_misbehaves_has_not_looked(name, tmp_path):
    for misdeed, (script, words) in MISDEEDS.items():
        tools = make_folder(tmp_path / misdeed.replace(" ", "-"))
        if script is not None:
            fake(tools, name, script)
        seconds = 1.0 if misdeed == "hangs" else 60.0
        found, _ = looked_by(name, tmp_path, tools=tools, seconds=seconds)
        # wapiti is not begun where nobody could end in time
        late = misdeed == "hangs" and name == "wapiti"
        assert ("time is over" if late else words) in " ".join(found.unseen.values()), misdeed


@pytest.mark.parametrize("name", SCANNERS)
def test_a_scanner_that_asks_nothing_or_finds_nothing_at_all_has_not_looked(name, tmp_path):
    report = REPORTS[name]
    blind = fake(tmp_path / "blind", name, ASKS + writes(name, report))
    found, stub = looked_by(name, tmp_path, tools=blind)
    assert "a fault that was made for it" in " ".join(found.unseen.values())
    assert stub.tokens >= {"Bearer s3cret"}
    silent = fake(tmp_path / "silent", name, writes(name, report | PROBED[name]))
    found, _ = looked_by(name, tmp_path, tools=silent)
    assert "sent no request" in " ".join(found.unseen.values())


@pytest.mark.parametrize("name", SCANNERS)
def test_a_scanner_that_is_let_in_nowhere_has_not_looked(name, tmp_path):
    tools = fake(tmp_path / "tools", name, ASKS + writes(name, REPORTS[name] | PROBED[name]))
    found, _ = looked_by(name, tmp_path, "deaf", tools=tools)
    assert "it was let in nowhere" in " ".join(found.unseen.values())
    found, _ = looked_by(name, tmp_path, tools=tools)
    assert (found.answer, found.unseen) == ("clean", {})


def test_schemathesis_that_calls_a_part_complete_has_not_looked_wholly(tmp_path):
    part = {"selected": 4, "tested": 1, "errored": 0, "skip_reasons": ["Time limit reached"]}
    report = REPORTS["schemathesis"] | PROBED["schemathesis"] | {"operations": part}
    tools = fake(tmp_path / "part", "schemathesis", ASKS + writes("schemathesis", report))
    found, _ = looked_by("schemathesis", tmp_path, tools=tools)
    assert "1 of 4 were tried: Time limit reached" in " ".join(found.unseen.values())
    report |= {"exit_code": 0}
    script = f"open('report.json', 'w').write({json.dumps(report)!r})\nsys.exit(1)"
    found, _ = looked_by(
        "schemathesis", tmp_path, tools=fake(tmp_path / "other", "schemathesis", script)
    )
    assert "exit code 1 and reports 0" in " ".join(found.unseen.values())


def test_wapiti_that_stopped_for_its_time_or_saw_no_page_has_not_looked_wholly(tmp_path):
    report = REPORTS["wapiti"] | PROBED["wapiti"]
    stopped = ASKS + "print('Max attack time was reached for module xss, stopping.')\n"
    tools = fake(tmp_path / "stopped", "wapiti", stopped + writes("wapiti", report))
    found, _ = looked_by("wapiti", tmp_path, tools=tools)
    assert "did not end within" in found.unseen["time"]
    report |= {"infos": {"version": "Wapiti 3.2.3", "crawled_pages_nbr": 0}}
    tools = fake(tmp_path / "pages", "wapiti", ASKS + writes("wapiti", report))
    found, _ = looked_by("wapiti", tmp_path, tools=tools)
    assert found.unseen["pages"] == "0 of 3 were looked at"


def test_what_the_gateway_never_said_is_no_failure_of_its(tmp_path):
    failed = {"method": "POST", "path": "/v2", "info": "x", "level": 3, "module": "sql"}
    report = REPORTS["wapiti"] | PROBED["wapiti"]
    report |= {"anomalies": {"Internal Server Error": [failed]}}
    tools = fake(tmp_path / "tools", "wapiti", ASKS + writes("wapiti", report))
    found, _ = looked_by("wapiti", tmp_path, tools=tools)
    assert (found.hits, found.unseen) == ([], {})
    broken = fake(
        tmp_path / "broken", "wapiti", ASKS.replace("/v2", "/v2?q=1") + writes("wapiti", report)
    )
    found, _ = looked_by("wapiti", tmp_path, "fails", tools=broken)
    assert [hit.path for hit in found.hits] == ["gateway/v2"]


def test_only_a_scratch_copy_is_attacked(tmp_path):
    for name in SCANNERS:
        found, stub = looked_by(name, tmp_path, scratch=False)
        assert stub.asked == [] and "only a scratch copy" in found.notes[0]


def test_a_scanner_reaches_the_relay_and_nothing_else(tmp_path):
    script = """
import socket
words = sys.argv
port = int(words[words.index("-u") + 1].rstrip("/").rpartition(":")[2])
socket.create_connection(("127.0.0.1", port), 5).close()
try:
    socket.create_connection(("127.0.0.1", int(open("/proc/self/cwd/../other").read())), 5)
except PermissionError:
    sys.exit(9)
"""
    tools = fake(tmp_path / "tools", "wapiti", script)
    stub = Stub()
    with stub.running() as target:
        at = place(tmp_path, target, tools=tools)
        (at.work / "other").write_text(str(target.port))
        found = looked(Wapiti(), at)
    assert "exit code 9" in found.unseen[""]


def test_the_relay_sends_the_token_for_its_word_alone_and_no_more_than_may_be_asked():
    stub = Stub()
    with (
        stub.running(requests=3) as target,
        Relay(target, _auditor(target), always=False).open() as relay,
    ):
        through = type(target)(**{**vars(target), "url": relay.url, "meter": _endless()})
        with Client(through) as client:
            assert client.ask("GET", "/v2", relay.word).status == 200
            assert client.ask("GET", "/v2", "s3cret" * 2).status == 401
            assert client.ask("QUERY", "/v2", relay.word).status == 405
            assert client.ask("GET", "/v2", relay.word).status == 503
        assert (relay.let_in, relay.strangers) == (2, 1)
        assert "3 requests are used up" in relay.why_not()[""]


def test_who_hangs_up_on_the_relay_is_not_told_of_on_the_terminal(capfd):
    with Stub().running() as target, Relay(target, _auditor(target), always=True).open() as relay:
        for _ in range(3):
            line = socket.create_connection(("127.0.0.1", relay.port))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.sendall(b"GET /v2 HTTP/1.1\r\nHost: x\r\n")
            line.close()
    assert capfd.readouterr() == ("", "")


def _auditor(target):
    return lambda *_: target.known.identities[0]


def _endless():
    from casemate.supply.scanners.running import Meter

    return Meter(600.0, 10**6, 10_000.0)


def test_each_role_asks_in_turn_for_what_it_may():
    one, other = (
        Identity(
            group=name, uid=name, kind="User", roles=[name], state="good", token=name,
            allowed=["gateway:read project", *more],
        )
        for name, more in (("a", ["model:read served"]), ("b", []))
    )  # fmt: skip
    with Stub().running() as target:
        known = type(target.known)(**{**structs.asdict(target.known), "identities": [one, other]})
        groups = roles(type(target)(**{**vars(target), "known": known}), DOCUMENT)
    turns = Turns(groups, {"name": "wdbc"})
    assert [turns("GET", "/v2").group for _ in range(4)] == ["a", "b", "a", "b"]
    assert {turns("GET", "/v2/models/wdbc").group for _ in range(4)} == {"a"}
    assert turns("TRACE", "/v2/models/wdbc").group == turns("GET", "/elsewhere").group == "a"


def test_a_role_is_made_to_ask_for_what_policy_permits_it_alone():
    with Stub().running() as target:
        ((may, those),) = roles(target, DOCUMENT).items()
    assert may == {"GET /v2", "GET /v2/models/{name}", "GET /openapi.json"}
    assert those[0].group == "user auditor"
    some = json.loads(narrowed(DOCUMENT, ["GET /v2/models/{name}"], {"name": "wdbc"}, {}))
    assert set(some["paths"]) == {PROBE, "/v2/models/{name}"}
    (parameter,) = some["paths"]["/v2/models/{name}"]["get"]["parameters"]
    assert parameter["schema"]["enum"] == ["wdbc"]
    filled = json.loads(concrete(DOCUMENT, sorted(may), {"name": "wdbc"}, "http://x", {}))
    assert "/v2/models/wdbc" in filled["paths"] and filled["servers"] == [{"url": "http://x"}]
