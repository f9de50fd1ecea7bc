"""Every command of casemate, called once, and the gateway under load; runs inside the recorder's
namespace.

python verbs.py day        every command that ends by itself
python verbs.py served     the gateway, a witness and a client
python verbs.py imports    whatever is installed
"""

import argparse
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.csv

import casemate
from casemate.cli import main
from casemate.serve.client import Client

HOME = Path("/home/somebody")
PROJECT = HOME / "clinic"
LISTEN_SECONDS = 13.0
"""onnxruntime calls its maker nine seconds after it was imported."""

LINES = ["-s", 'sinks.lines={kind="file",to=".casemate/lines.jsonl"}']
"""A sink that needs nobody."""
AWS = [
    "-s",
    (
        'deploy.aws={account="111122223333",region="eu-central-1",bucket="clinic-models",'
        'audit_bucket="clinic-audit",subnets=["subnet-0a1b2c3d"],security_groups=["sg-0a1b2c3d"],'
        'deployers=["arn:aws:iam::111122223333:role/ci"],auditors=["arn:aws:iam::111122223333:role/a"]}'
    ),
]
"""An account that nobody asks."""

CALLS: dict[str, list[str]] = {
    "init": ["init", str(PROJECT), "--example", "clinical"],
    "check": [],
    "config check": [],
    "config show": [],
    "config schema": [],
    "doctor": [],
    "completion": ["bash"],
    "run": [],
    "runs": [],
    "runs list": [],
    "runs show": ["RUN"],
    "runs export": [str(HOME / "exported"), "RUN"],
    "status": [],
    "data list": [],
    "data show": ["wdbc"],
    "data diff": ["DATASET", "DATASET"],
    "data check": [],
    "data quarantine list": ["wdbc"],
    "data quarantine release": ["wdbc", "1", "--reason", "fine"],
    "data quarantine drop": ["wdbc", "1", "--reason", "odd"],
    "model list": [],
    "model show": ["wdbc"],
    "model export": ["wdbc", "out"],
    "image model": ["wdbc", "image"],
    "image withdrawn": [str(HOME / "withdrawn.json")],
    "model waive": ["roc_auc", "--until", "2026-12-31", "--reason", "r"],
    "model unwaive": ["roc_auc"],
    "model promote": ["wdbc@1"],
    "assess": ["wdbc"],
    "privacy budget": [],
    "privacy affected": ["env:PW"],
    "privacy request open": ["env:PW", "--kind", "access"],
    "privacy request list": [],
    "privacy request show": ["1"],
    "privacy request decide": ["1", "grant"],
    "privacy retention plan": [],
    "privacy retention apply": [],
    "privacy request fulfil": ["1", "--out", str(HOME / "copy")],
    "privacy record list": [],
    "privacy record show": ["dpia"],
    "privacy record write": ["--out", str(HOME / "records")],
    "privacy record verify": [str(HOME / "records")],
    "privacy erase": ["env:PW"],
    "privacy request certificate": ["2", "--out", str(HOME / "certificate")],
    "privacy consent show": ["env:PW"],
    "privacy consent withdraw": ["env:PW"],
    "privacy consent export": [str(HOME / "consent.json")],
    "privacy key": [str(HOME / "pseudonyms.key")],
    "privacy deidentify": ["clinic/data/wdbc.csv", "-o", str(HOME / "wdbc-anonymous.csv")],
    "privacy scan": [str(HOME / "wdbc-anonymous.csv")],
    "watch once": [],
    "watch show": [],
    "watch report": ["--out", str(HOME / "watch.html")],
    "logs search": ["level:info"],
    "logs tail": [],
    "logs stats": ["--by", "action"],
    "logs sql": ["select action, count(*) from logs group by action"],
    "logs erase": ["zebra"],
    "sinks send": LINES,
    "sinks status": LINES,
    "sinks check": LINES,
    "incident report": ["clinic/data/alerts.json"],
    "incident list": ["--state", "reviewed"],
    "incident alerts": [],
    "incident show": ["1"],
    "incident ack": ["1"],
    "incident note": ["1", "we look"],
    "incident severity": ["1", "low"],
    "incident assign": ["1", "root"],
    "incident contain": ["1"],
    "incident recover": ["1"],
    "incident export": ["1"],
    "incident close": ["1", "--despite", "a drill"],
    "incident reopen": ["1", "--reason", "r"],
    "playbook copy": ["drift"],
    "playbook check": [],
    "playbook apply": [],
    "playbook list": [],
    "playbook show": ["drift"],
    "playbook run": ["drift", "--incident", "1", "--dry-run"],
    "playbook runs": [],
    "playbook resume": [],
    "hold list": [],
    "controls list": ["gdpr"],
    "controls check": ["log.verifies"],
    "controls show": ["log.verifies"],
    "evidence": [str(HOME / "evidence")],
    "scan list": [],
    "bom show": [],
    "bom export": ["wdbc", str(HOME / "bill.json")],
    "bom verify": [str(HOME / "bill.json")],
    "bom diff": ["wdbc", str(HOME / "bill.json")],
    "drill": ["--list"],
    "hold place": ["releases", "wdbc", "--reason", "r"],
    "hold lift": ["releases", "wdbc", "--reason", "r"],
    "retrain demand": ["--reason", "r"],
    "deploy prometheus": [str(HOME / "prometheus")],
    "deploy elasticsearch": [str(HOME / "elasticsearch")],
    "deploy rsyslog": [str(HOME / "rsyslog"), *LINES],
    "deploy gitlab": [str(PROJECT)],
    "deploy jenkins": [str(PROJECT)],
    "deploy github": [str(PROJECT)],
    "deploy kubeflow": [str(PROJECT), "--image", f"x@sha256:{'0' * 64}"],
    "deploy dockerfile": [
        *(str(HOME / "docker"), "--base", "python@sha256:" + "0" * 64, "--lock", "casemate.toml"),
        *("--builder", "python@sha256:" + "0" * 64),
    ],
    "deploy flower": [str(HOME / "flower")],
    "deploy iam": [str(HOME / "iam"), *AWS],
    "deploy sagemaker": [str(HOME / "sagemaker"), *AWS],
    "deploy check": [str(HOME / "elasticsearch")],
    "deploy status": [str(HOME / "elasticsearch")],
    "feedback list": [],
    "feedback sources": [],
    "feedback screen": [],
    "federate simulate": ["--sites", "4", "--rounds", "2", "-s", "privacy.min_group=5"],
    "federate card": ["clinic"],
    "federate code": [],
    "federate list": [],
    "retrain plan": [],
    "retrain list": [],
    "retrain run": [],
    "watch drift": ["clinic/data/wdbc.csv", "clinic/data/wdbc.csv"],
    "watch estimate": [
        *("clinic/data/wdbc.csv", "clinic/data/wdbc.csv"),
        *("--target", "malignant", "--score", "mean_smoothness"),
    ],
    "watch detect": [
        *("clinic/data/series.csv", "--time", "timestamp", "--value", "value"),
    ],
    "watch forecast": ["clinic/data/series.csv", "--horizon", "3h"],
    "logs rules check": [],
    "logs rules list": [],
    "logs rules test": ["Denied again and again", "--lines", "clinic/data/lines.jsonl"],
    "verify": ["out"],
    "explain": [],
    "access whoami": [],
    "access user add": ["ben", "--role", "auditor", "--password", "env:PW"],
    "access user password": ["ben", "--password", "env:PW"],
    "access login": ["ben", "--password", "env:PW"],
    "access logout": [],
    "access list": [],
    "access actions": [],
    "access role list": [],
    "access role define": ["reader", "--include", "auditor"],
    "access role grant": ["ben", "reader"],
    "access role withdraw": ["ben", "reader"],
    "access session list": [],
    "access user disable": ["ben"],
    "access token create": ["app"],
    "access token list": [],
    "access service add": ["robot"],
    "access service list": [],
    "access service remove": ["robot"],
    "access factor list": [],
    "access policy show": [],
    "access policy history": [],
    "access policy schema": [],
    "access policy apply": [],
    "access explain": ["root", "run:read"],
    "access who-can": ["run:read"],
    "access finding list": [],
    "access review report": [],
    "audit show": [],
    "audit verify": [],
    "audit prove": ["1", "--out", "entry.proof"],
    "audit cosign": [],
    "audit copy": [],
    "audit witness init": ["witness", "--name", "witness.example.org/w1"],
    "audit witness trust": ["witness", "clinic/.casemate/public/log.vkey"],
    "tracker list": [],
    "outbox list": [],
    "outbox send": [],
    "outbox retry": [],
    "store show": [],
    "store upgrade": [],
    "fsck": [],
    "gc": [],
    "backup keygen": ["safe.key"],
    "backup recipients add": ["me", "--passphrase", "env:PW", "--keys"],
    "backup recipients list": [],
    "backup create": ["clinic.backup"],
    "backup verify": ["clinic.backup", "--passphrase", "env:PW"],
    "backup restore": ["clinic.backup", "restored", "--passphrase", "env:PW"],
    "keys list": [],
    "keys show": ["objects"],
    "keys rotate": ["objects"],
    "keys disable": ["footer", "1"],
    "keys enable": ["footer", "1"],
    "keys signer list": [],
    "keys signer rotate": [],
    "keys certificate issue": ["client", "app", "--out", "app"],
    "keys certificate renew": ["app"],
    "keys certificate list": [],
    "keys certificate crl": ["--out", "crl.pem"],
    "keys backup": ["clinic.keys", "env:PW"],
    "keys protect": ["env:PW"],
}
"""Command -> its words, in the order of a life; they must succeed."""
REFUSED: dict[str, list[str]] = {
    "deploy apply": [str(HOME / "elasticsearch"), "--to", "kubernetes"],
    "deploy drift": [str(HOME / "elasticsearch")],
    "incident review": ["1", "learnt"],
    "incident merge": ["1", "1"],
    "incident erase": ["1"],
    "incident mute": ["--until", "2020-01-01T00:00:00Z", "--matching", "name=x", "--reason", "r"],
    "runs cancel": ["RUN"],
    "data statistics": ["wdbc", "mean radius", "--epsilon", "0.1"],
    "model approve": ["wdbc", "--reason", "r"],
    "model rollback": ["wdbc"],
    "model import": ["clinic/data/wdbc.csv"],
    "scan": [],
    "scan code": [],
    "scan secrets": [],
    "scan dependencies": [],
    "scan artifacts": [],
    "scan configuration": [],
    "scan endpoint": ["--target", "https://gateway.example.org"],  # it asks its own copy alone
    "scan all": [],
    "scan show": ["000000"],
    "scan export": [str(HOME / "findings.sarif")],
    "scan waive": ["000000", "--until", "2026-12-31", "--reason", "r"],
    "scan unwaive": ["000000"],
    "scan import": ["absent.json", "--from", "zap"],
    "scan plan": [str(HOME / "zap.yaml"), "--target", "http://gateway.example.org"],
    "scan sonar": [],
    "scan advisories show": [],
    "scan advisories import": ["absent.zip"],
    "scan advisories sign": ["absent.zip"],
    "sagemaker serve": ["--root", str(HOME / "ml")],
    "sagemaker train": ["--root", str(HOME / "ml")],
    "sagemaker captured": ["absent", str(HOME / "captured.csv")],
    "image gateway": ["gw", "--base", "absent", "--wheels", "absent", "--lock", "absent"],
    "access step-up": ["--code", "env:PW"],
    "deploy kubernetes": [str(HOME / "kubernetes")],
    "deploy kserve": [str(HOME / "kserve")],
    "access role delegate": ["ben", "owner", "--reason", "r"],
    "access factor add": ["totp"],
    "access factor confirm": ["--code", "env:PW"],
    "access factor remove": ["ben"],
    "access session end": ["1"],
    "access token revoke": ["1"],
    "access test": ["absent.toml"],
    "access break-glass": ["--reason", "r"],
    "access finding close": ["1", "--reason", "r"],
    "access review close": ["1", "--finding", "f"],
    "feedback add": ["clinic/data/wdbc.csv"],
    "privacy request model": ["1", "keep", "wdbc@1", "--reason", "r"],
    "privacy unseal": ["absent", "opened", "--identity", "env:PW"],
    "privacy alias": ["env:PW", "env:PW"],
    "privacy consent import": ["clinic/data/wdbc.csv"],
    "feedback show": ["x"],
    "federate found": [
        *("wards", "--url", "https://coordinator.example.org:8460", "--site", "casemate.toml"),
    ],
    "federate approve": ["casemate.toml"],
    "federate leave": ["wards"],
    "federate lead": ["wards"],
    "federate join": ["wards"],
    "federate attest": ["wards", "--model", "train.py"],
    "federate rounds": ["wards"],
    "federate audit": ["casemate.toml", "casemate.toml"],
    "retrain go-on": ["--reason", "r"],
    "playbook approve": ["1", "retrain", "--reason", "r"],
    "playbook undo": ["1", "--reason", "r"],
    "access suspend": ['Service::"nobody"', "--reason", "r"],
    "access resume": ['Service::"nobody"', "--reason", "r"],
    "tracker check": ["desk"],
    "tracker read": [],
    "outbox show": ["1"],
    "store migrate": ["sqlite"],
    "store objects": ["files"],
    "audit resolve": ["--reason", "r"],
    "backup recipients remove": ["me"],
    "backup subjects": ["clinic.backup", "--passphrase", "env:PW"],
    "keys destroy": ["objects", "9"],
    "keys recover": ["env:PW", "env:PW"],
    "keys restore": ["clinic.keys", "env:PW"],
    "keys shred": ["env:PW"],
    "keys migrate": ["file"],
    "keys signer distrust": ["9", "2026-01-01"],
    "keys certificate revoke": ["1"],
}
"""Called too, whatever they answer: here there is nothing for them to do, or nobody to do it."""
SERVED = ("serve", "predict", "audit witness serve", "watch")
"""Called as processes of their own, by `served`."""


def leaves(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Every command that the parser knows."""
    groups = [
        action for action in parser._actions if isinstance(action, argparse._SubParsersAction)
    ]
    if path and not (groups and groups[0].required):
        yield " ".join(path)
    for group in groups:
        for name, child in group.choices.items():
            yield from leaves(child, (*path, name))


def lighten(path: Path) -> None:
    """Measure less: what is attacked how often is not the question."""
    light = (
        "[assess]\nbootstrap = 60\nattack_rows = 60\nattack_steps = 12\nshadows = 0\nimportance ="
        " false\n\n[robustness]\ndecision_rows = 0\n"
    )
    text = path.read_text().replace(
        "[screen]\n", "[screen]\nspectral = false\ntriggers = false\ninfluence = false\n", 1
    )
    head, _, gates = text.partition("[gates]\n")
    # a hold-out is drawn anew each time; it must decide every gate
    loose = re.sub(r"(?m)^(robust_accuracy|membership_auc) = .*\n", "", gates)
    # nor may chance decide whether a new model is no worse than the one before
    wide = "\n[retrain]\nmargin = 0.5\n"
    path.write_text(head + light + "\n[gates]\n" + loose + wide)


def process(*words: str) -> subprocess.Popen[str]:
    """`casemate` as a process that goes on."""
    return subprocess.Popen(
        [sys.executable, "-m", "casemate", *words], stdout=subprocess.PIPE, text=True
    )


def load(url: str, token: str) -> int:
    """Ask the gateway about rows until `LISTEN_SECONDS` are over; returns how often it answered."""
    project = casemate.open(PROJECT)
    rows = pyarrow.csv.read_csv(HOME / "rows.csv")
    client = Client(url, token, project.keystore.folder / "public" / "ca.pem", model="wdbc")
    end, answers = time.monotonic() + LISTEN_SECONDS, 0
    while time.monotonic() < end:
        answers += client.predict(rows).answers.num_rows > 0
        time.sleep(0.1)
    return answers


def served() -> dict[str, object]:
    """The gateway under load and a witness; every process ends."""
    rows = (PROJECT / "data" / "wdbc.csv").read_text().splitlines()[:6]
    (HOME / "rows.csv").write_text("\n".join(rows) + "\n")
    made = subprocess.run(
        [sys.executable, "-m", "casemate", "access", "token", "create", "load", "--format", "json"],
        capture_output=True,
        text=True,
    )
    witness = (
        process("audit", "witness", "serve", "../witness", "--port", "0")
        if Path("../witness").exists()
        else None
    )
    gateway = process("serve", "--port", "0")
    watcher = process("watch", "--every", "1")
    try:
        line = gateway.stdout.readline()
        url = next(word for word in line.split() if word.startswith("https://"))
        predicted = subprocess.run(
            [sys.executable, "-m", "casemate", "predict", str(HOME / "rows.csv"), "--url", url],
            capture_output=True,
            text=True,
        )
        answers = load(url, json.loads(made.stdout)["token"])
        heard = witness.stdout.readline() if witness else ""
        looked = watcher.stdout.readline()
    finally:
        codes = []
        for running in (gateway, watcher, witness):
            if running:
                running.send_signal(signal.SIGTERM)
                codes.append(running.wait(30))
    return {
        "port": url.rsplit(":", 1)[1],
        "predict": predicted.returncode,
        "answers": answers,
        "witness": heard,
        "watcher": looked,
        "codes": codes,
        "err": predicted.stderr,
    }


def day() -> None:
    """Every command once; prints what each answered, as JSON on the last line."""
    os.environ["PW"] = "correct horse battery"
    answers: dict[str, int] = {}
    first = subprocess.run([sys.executable, "-m", "casemate", *CALLS["init"]], check=False)
    answers["init"] = first.returncode
    lighten(PROJECT / "casemate.toml")
    hours = (f"2026-03-{2 + at // 24:02} {at % 24:02}:00,{40 + at % 7}\n" for at in range(480))
    (PROJECT / "data" / "series.csv").write_text("timestamp,value\n" + "".join(hours))
    line = {"@timestamp": "2026-03-02T12:00:00Z", "log.level": "info", "message": "m"}
    line |= {"event.id": "1", "event.dataset": "casemate.audit", "event.reason": "denied"}
    (PROJECT / "data" / "lines.jsonl").write_text(json.dumps(line) + "\n")
    (PROJECT / "data" / "alerts.json").write_text('{"alerts": [{"name": "x"}]}')
    ran = subprocess.run(
        [sys.executable, "-m", "casemate", "run", "--config", str(PROJECT)], check=False
    )
    answers["run"] = ran.returncode
    state = PROJECT / ".casemate"
    known = {
        "RUN": next((state / "runs").iterdir()).name,
        "DATASET": "wdbc@" + next((state / "datasets" / "wdbc").iterdir()).name,
    }
    for name, words in [*CALLS.items(), *REFUSED.items()]:
        if name not in answers:
            print(f"--- {name}", flush=True)
            called = [*name.split(), *(known.get(word, word) for word in words)]
            # words that the parser refuses end the day
            answers[name] = main([*called, "--config", str(PROJECT)])
            print(f"--- {answers[name]}", file=sys.stderr, flush=True)
    print(json.dumps(answers))


def imports(names: list[str]) -> None:
    """Import casemate, then all of these, as a script of somebody might, and wait until the slowest
    would have called.
    """
    failed = {}
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            failed[name] = repr(error)[:200]
    time.sleep(LISTEN_SECONDS)
    print(json.dumps(failed))


if __name__ == "__main__":
    what = sys.argv[1]
    if what == "day":
        day()
    elif what == "served":
        os.chdir(PROJECT)
        print(json.dumps(served()))
    elif what == "imports":
        imports(sys.argv[2:])
