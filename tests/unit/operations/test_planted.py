"""A sample with fifty planted faults, and its twin without them: how many are found, and how often
the twin is told of for nothing. Secrets are made when the test runs: none is in this repository.
"""

import base64
import datetime
import json
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import tomlkit
from tests.unit.supply.planted import advisory, snapshot

import casemate

pytestmark = pytest.mark.slow
NOW = datetime.datetime.now(datetime.UTC)

CODE = {
    "eval": "import sys\nvalue = eval(sys.argv[1])\n",
    "exec": "import sys\nexec(sys.argv[1])\n",
    "shell": "import subprocess, sys\nsubprocess.call('ls ' + sys.argv[1], shell=True)\n",
    "pickle": "import pickle\n\ndef load(file):\n    return pickle.load(file)\n",
    "joblib": "import joblib\n\nmodel = joblib.load('model.bin')\n",
    "torch": "import torch\n\nmodel = torch.load('m.pt', weights_only=False)\n",
    "numpy": "import numpy\n\nrows = numpy.load('rows.dat', allow_pickle=True)\n",
    "read_pickle": "import pandas as pd\n\nrows = pd.read_pickle('rows.dat')\n",
    "yaml": "import yaml\n\ndef read(text):\n    return yaml.load(text, Loader=yaml.Loader)\n",
    "verify": "import requests\n\nr = requests.get('https://x.example', verify=False, timeout=5)\n",
    "context": "import ssl\n\ncontext = ssl._create_unverified_context()\n",
    "hostname": "import ssl\n\nc = ssl.create_default_context()\nc.check_hostname = False\n",
    "hub": "from transformers import AutoModel\n\nm = AutoModel.from_pretrained('a/b')\n",
    "remote": "import x\n\nm = x.load('./a', trust_remote_code=True)\n",
    "fit-all": (
        "from sklearn.model_selection import train_test_split as t\n"
        "from sklearn.model_selection import train_test_split\n\n"
        "def go(scaler, X, y):\n    X = scaler.fit_transform(X)\n    return train_test_split(X, y)\n"
    ),
    "fit-then": (
        "from sklearn.model_selection import train_test_split\n\n"
        "def go(imputer, X, y):\n    imputer.fit(X)\n    Z = imputer.transform(X)\n"
        "    return train_test_split(Z, y)\n"
    ),
    "on-test": (
        "from sklearn.model_selection import train_test_split\n\n"
        "def go(m, X, y):\n    X_train, X_test, y_train, y_test = train_test_split(X, y)\n"
        "    return m.fit(X_test, y_test)\n"
    ),
    "on-both": (
        "import numpy as np\nfrom sklearn.model_selection import train_test_split\n\n"
        "def go(m, X, y):\n    X_train, X_test, y_train, y_test = train_test_split(X, y)\n"
        "    both = np.concatenate([X_train, X_test])\n    return m.fit(both, y)\n"
    ),
    "md5": "import hashlib\n\ndef token(text):\n    return hashlib.md5(text).hexdigest()\n",
    "tmp": "import tempfile\n\npath = tempfile.mktemp()\n",
}
CLEAN = {
    "eval": "import ast\nimport sys\n\nvalue = ast.literal_eval(sys.argv[1])\n",
    "exec": "import sys\n\nvalue = {'a': 1}[sys.argv[1]]\n",
    "shell": "import pathlib\n\nfound = sorted(pathlib.Path('.').iterdir())\n",
    "pickle": "import json\n\ndef load(file):\n    return json.load(file)\n",
    "joblib": "import skops.io\n\nmodel = skops.io.load('m.skops', trusted=[])\n",
    "torch": "import torch\n\nmodel = torch.load('m.pt', weights_only=True)\n",
    "numpy": "import numpy\n\nrows = numpy.load('rows.dat', allow_pickle=False)\n",
    "read_pickle": "import pandas as pd\n\nrows = pd.read_parquet('rows.parquet')\n",
    "yaml": "import yaml\n\ndef read(text):\n    return yaml.load(text, Loader=yaml.SafeLoader)\n",
    "verify": "import requests\n\nr = requests.get('https://x.example', timeout=5)\n",
    "context": "import ssl\n\ncontext = ssl.create_default_context()\n",
    "hostname": "import ssl\n\nc = ssl.create_default_context()\nc.check_hostname = True\n",
    "hub": (
        "from transformers import AutoModel\n\n"
        "m = AutoModel.from_pretrained('a/b', revision='0123456789abcdef0123456789abcdef01234567')\n"
    ),
    "remote": "import x\n\nm = x.load('./a', trust_remote_code=False)\n",
    "fit-all": (
        "from sklearn.model_selection import train_test_split\n\n"
        "def go(scaler, X, y):\n    X_train, X_test, y_train, y_test = train_test_split(X, y)\n"
        "    scaler.fit(X_train)\n    return scaler.transform(X_test)\n"
    ),
    "fit-then": (
        "from sklearn.model_selection import train_test_split\n\n"
        "def go(pipeline, X, y):\n    A, B, c, d = train_test_split(X, y)\n"
        "    model = pipeline.fit(A, c)\n    return model.score(B, d)\n"
    ),
    "on-test": (
        "from sklearn.model_selection import train_test_split\n\n"
        "def go(m, X, y):\n    X_train, X_test, y_train, y_test = train_test_split(X, y)\n"
        "    X_fit, X_valid, y_fit, y_valid = train_test_split(X_train, y_train)\n"
        "    m.fit(X_fit, y_fit)\n    return m.score(X_valid, y_valid), m.score(X_test, y_test)\n"
    ),
    "on-both": (
        "from sklearn.model_selection import cross_val_score\n\n"
        "def go(pipeline, X, y):\n    return cross_val_score(pipeline, X, y)\n"
    ),
    "md5": "import hashlib\n\ndef token(text):\n    return hashlib.sha256(text).hexdigest()\n",
    "tmp": "import tempfile\n\nfile = tempfile.TemporaryFile()\n",
}


def letters(count):
    return base64.b32encode(secrets.token_bytes(count)).decode()[:count]


def made_secrets():
    """Ten of the forms in which secrets lie about; each new, and valid nowhere."""
    text = base64.urlsafe_b64encode
    pem = "-----BEGIN RSA PRIVATE {}-----"
    jwt = ".".join(
        text(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": letters(8)})
    )
    return {
        "aws.py": f'key = "AKIA{letters(16)}"\n',
        "github.py": f'value = "ghp_{secrets.token_hex(18)}"\n',
        "pem.txt": f"{pem.format('KEY')}\n{secrets.token_hex(40)}\n",
        "jwt.yaml": f"auth: {jwt}.{text(secrets.token_bytes(32)).decode().rstrip('=')}\n",
        "password.py": f'db_password = "{secrets.token_urlsafe(12)}"\n',
        "url.ini": f"[db]\nurl = postgres://app:{secrets.token_hex(8)}@db.example.org/x\n",
        "slack.json": json.dumps({"hook": f"xoxb-{secrets.randbelow(10**12):012}-{letters(24)}"}),
        "stripe.py": f'x = "sk_live_{secrets.token_hex(12)}"\n',
        "config.env": f"API_KEY={secrets.token_hex(16)}\n",
        "book.ipynb": json.dumps(
            {
                "nbformat": 4,
                "cells": [{"cell_type": "code", "source": f'token = "{secrets.token_hex(20)}"\n'}],
            }
        ),
    }


PLACEHOLDERS = {
    "aws.py": 'import os\n\nkey = os.environ["AWS_ACCESS_KEY_ID"]\n',
    "github.py": 'value = open("/run/secrets/github").read()\n',
    "pem.txt": "-----BEGIN CERTIFICATE-----\nsee the folder\n",
    "jwt.yaml": "auth: file:token\n",
    "password.py": "import getpass\n\ndb_password = getpass.getpass()\n",
    "url.ini": "[db]\nurl = postgres://db.example.org/x\n",
    "slack.json": '{"hook": "env:SLACK"}',
    "config.env": "API_KEY=${API_KEY}\n",
    "digest.txt": f"numpy==2.4.0 --hash=sha256:{'0123456789abcdef' * 4}\n",
    "book.ipynb": json.dumps(
        {"nbformat": 4, "cells": [{"cell_type": "code", "source": "x = 1\n"}]}
    ),
}
PACKAGES = [f"planted-{number}" for number in range(10)]
WEAK = {
    "sandbox": {"mode": "prefer"},
    "serve": {"host": "0.0.0.0", "tls": "proxy", "audit": "batched", "guard": {"unknown": "flag"}},
    "privacy": {"min_group": 2},
    "keys": {"max_age_days": 3000},
    "screen": {"label_noise": False, "triggers": False},
    "notices": {"far": {"kind": "webhook", "to": "http://hook.example.org/x"}},
}
"""Weak in casemate.toml; an open policy and an open file are planted beside it."""
PLANTED = (
    *("sandbox.in-force", "serve-plain", "serve-batched", "gateway.guards", "small-groups"),
    *("keys-old", "screen-off", "plain-connection", "policy-open", "file-open"),
)


def tools():
    missing = [
        name
        for name in ("bandit", "detect-secrets")
        if shutil.which(name, path=str(Path(sys.executable).parent)) is None
    ]
    if missing:
        pytest.skip(f"{missing} are not installed beside this Python: make dev")


def plant(root, code, secret, requirements):
    for name, text in code.items():
        (root / f"{name.replace('-', '_')}.py").write_text(text)
    folder = root / "settings"
    folder.mkdir()
    for name, text in secret.items():
        (folder / name).write_text(text)
    (root / "requirements.txt").write_text(requirements)


def twins(tmp_path, tiny_project):
    """The faulty project, and its twin."""
    clean = tmp_path / "clean"
    shutil.copytree(tiny_project, clean)
    plant(tiny_project, CODE, made_secrets(), "".join(f"{name}==1.0\n" for name in PACKAGES))
    plant(clean, CLEAN, PLACEHOLDERS, "".join(f"{name}==2.0\n" for name in PACKAGES))
    entries = [advisory(f"GHSA-{name}", name, [{"introduced": "0"}, {"fixed": "2.0"}], NOW)
               for name in PACKAGES]  # fmt: skip
    return tiny_project, clean, snapshot(tmp_path / "feed", entries)


def own_files(found, kind):
    return {one.kept.finding.path for one in found.found if one.kept.finding.kind == kind}


def bandit_alone(root):
    """Files of which bandit's own report has a finding, as it is run by hand."""
    done = subprocess.run(
        [Path(sys.executable).parent / "bandit", "-q", "-r", root, "-f", "json"],
        capture_output=True, check=False,
    )  # fmt: skip
    return {Path(one["filename"]).name for one in json.loads(done.stdout)["results"]}


def test_planted_faults_are_found_and_the_twin_is_hardly_told_of(tmp_path, tiny_project, capsys):
    tools()
    faulty, clean, feed = twins(tmp_path, tiny_project)
    found = {}
    for root in (faulty, clean):
        project = casemate.open(root)
        project.scans.advisories.sign(feed)
        project.scans.advisories.add(feed)
        found[root] = project.scans.scan(["code", "secrets", "dependencies"])
        assert found[root].unseen == []
    names = {f"{name.replace('-', '_')}.py" for name in CODE}
    code = own_files(found[faulty], "code") & names
    secret = {path for path in own_files(found[faulty], "secrets") if path.startswith("settings/")}
    packages = {one.kept.finding.package for one in found[faulty].found} & set(PACKAGES)
    false = [
        (one.kept.finding.rule, one.kept.finding.path)
        for one in found[clean].found
        if one.kept.finding.path.startswith("settings/") or one.kept.finding.path in names
        or one.kept.finding.package in PACKAGES
    ]  # fmt: skip
    alone = bandit_alone(faulty) & names
    loud = bandit_alone(clean) & names
    with capsys.disabled():
        print(
            f"\nplanted: code {len(code)}/20 (bandit alone {len(alone)}/20), secrets"
            f" {len(secret)}/10, dependencies {len(packages)}/10; false alarms {len(false)}"
            f" {false} (bandit alone {len(loud)})"
        )
    assert len(code) >= 19, names - code
    assert len(secret) >= 9, secret
    assert len(packages) == 10
    assert len(false) <= 3, false


def test_ten_weak_settings_are_found_and_a_sound_file_is_not_told_of(tiny_project):
    before = casemate.open(tiny_project).scans.scan(["configuration"])
    path = tiny_project / "casemate.toml"
    document = tomlkit.parse(path.read_text())
    for name, table in WEAK.items():
        document.setdefault(name, {}).update(table)
    path.write_text(tomlkit.dumps(document))
    (tiny_project / "policies").mkdir(exist_ok=True)
    text = "permit (principal, action, resource);\n"
    (tiny_project / "policies" / "open.cedar").write_text(text)
    (tiny_project / "train.py").chmod(0o666)
    found = casemate.open(tiny_project).scans.scan(["configuration"])
    planted = {f"configuration.{name}" for name in PLANTED}
    assert planted - {one.kept.finding.rule for one in found.found} == set()
    assert planted & {one.kept.finding.rule for one in before.found} == set()
    # one of the weak settings is a receiver that nobody may be told by
    assert ("must use https" in found.untold, before.untold) == (True, "")
