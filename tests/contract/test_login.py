"""A login at a real OpenBao server outlives its token: renewed in time, fetched anew when refused,
told when neither works.
"""

import gc
import json
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from secrets import token_hex

import pytest
from tests.conftest import wait_for

from casemate.config import KeysTable
from casemate.controls.keys.aws import AwsKeys
from casemate.controls.keys.vault import VaultKeys
from casemate.core.errors import BackendError
from casemate.serve.metrics import Metrics
from casemate.serve.watches import count_login

DATA_KEY = bytes(range(32))
POLICY = 'path "transit/*" { capabilities = ["create", "read", "update"] }'


@pytest.fixture
def approle(openbao, tmp_path):
    """Makes the table of a role whose tokens live for so long."""
    if "approle/" not in openbao.call("GET", "sys/auth")["data"]:
        openbao.call("POST", "sys/auth/approle", {"type": "approle"})
    openbao.call("PUT", "sys/policies/acl/casemate", {"policy": POLICY})

    def made(ttl, most=0, uses=0):
        name = f"r{token_hex(4)}"
        limits = {
            "token_ttl": f"{ttl}s",
            "token_max_ttl": f"{most}s",
            "secret_id_num_uses": uses,
            "token_policies": "casemate",
        }
        openbao.call("POST", f"auth/approle/role/{name}", limits)
        role = openbao.call("GET", f"auth/approle/role/{name}/role-id")["data"]["role_id"]
        secret = openbao.call("POST", f"auth/approle/role/{name}/secret-id")["data"]["secret_id"]
        (tmp_path / "secret").write_text(secret)
        table = {
            "provider": "vault",
            "address": openbao.address,
            "auth": "approle",
            "role": role,
            "secret": f"file:{tmp_path}/secret",
        }
        return KeysTable(**table)

    return made


def token_of(keys):
    return str(keys._raw.token)


def test_keys_are_used_for_longer_than_any_token_lives(approle):
    keys = VaultKeys(approle(2, 3), f"p{token_hex(4)}")
    keys.prepare()
    wrapped, seen = keys.wrap("objects", DATA_KEY), set()
    end = time.monotonic() + 60
    while len(seen) < 3 and time.monotonic() < end:
        assert keys.unwrap("objects", wrapped) == DATA_KEY
        seen.add(token_of(keys))
        time.sleep(0.05)
    assert len(seen) == 3
    assert keys.login.faults == 0


def test_an_idle_process_keeps_a_token_whose_secret_was_good_for_one_use(approle):
    keys = VaultKeys(approle(2, 0, uses=1), f"p{token_hex(4)}")
    keys.prepare()
    wrapped, token, renewed = keys.wrap("objects", DATA_KEY), token_of(keys), set()
    wait_for(lambda: renewed.add(keys.login._since) or len(renewed) > 4)  # more than twice its life
    assert keys.unwrap("objects", wrapped) == DATA_KEY
    assert token_of(keys) == token
    assert keys.login.faults == 0


def test_a_token_that_was_revoked_is_fetched_anew_once_and_that_is_told(approle, openbao, capsys):
    keys = VaultKeys(approle(600), f"p{token_hex(4)}")
    keys.prepare()
    wrapped, token = keys.wrap("objects", DATA_KEY), token_of(keys)
    keys.login._since -= 2  # as if it were older than what is just fetched
    openbao.call("POST", "auth/token/revoke", {"token": token})
    assert keys.unwrap("objects", wrapped) == DATA_KEY
    assert token_of(keys) != token
    assert "refused the token; logging in again" in capsys.readouterr().err


def test_what_policy_denies_does_not_log_in_again_and_again(approle):
    keys = VaultKeys(approle(600), f"p{token_hex(4)}")
    keys.prepare()
    tokens = set()
    for _ in range(5):
        with pytest.raises(BackendError, match="denied"):
            keys.read("sys/policies/acl/casemate")
        tokens.add(token_of(keys))
    assert len(tokens) == 1


def test_a_login_that_cannot_be_renewed_is_told_once_and_recovers(
    approle, openbao, tmp_path, capsys
):
    table = approle(1, 1)
    keys = VaultKeys(table, f"p{token_hex(4)}")
    keys.prepare()
    wrapped = keys.wrap("objects", DATA_KEY)
    (tmp_path / "secret").rename(tmp_path / "away")
    wait_for(lambda: keys.login.failing and keys.login.faults > 2)
    told = capsys.readouterr().err
    assert told.count("was not renewed and ends in") == 1
    metrics = Metrics()
    count_login(metrics, keys)
    assert b"casemate_key_login_failing 1.0" in metrics.render()[1]
    assert b"casemate_key_login_faults_total" in metrics.render()[1]
    (tmp_path / "away").rename(tmp_path / "secret")
    wait_for(lambda: not keys.login.failing)
    assert "holds again" in capsys.readouterr().err
    assert keys.unwrap("objects", wrapped) == DATA_KEY


def test_a_token_that_was_replaced_in_its_file_is_read_again(openbao, tmp_path):
    def fresh():
        made = openbao.call("POST", "auth/token/create", {"ttl": "600s", "policies": ["root"]})[
            "auth"
        ]["client_token"]
        (tmp_path / "token").write_text(made)
        return made

    first = fresh()
    keys = VaultKeys(
        KeysTable(provider="vault", address=openbao.address, secret=f"file:{tmp_path}/token"),
        f"p{token_hex(4)}",
    )
    keys.prepare()
    wrapped = keys.wrap("objects", DATA_KEY)
    keys.login._since -= 2
    second = fresh()
    openbao.call("POST", "auth/token/revoke", {"token": first})
    assert keys.unwrap("objects", wrapped) == DATA_KEY
    assert token_of(keys) == second


def test_a_project_that_is_forgotten_takes_its_thread_along(approle):
    keys = VaultKeys(approle(1), f"p{token_hex(4)}")
    keys.prepare()
    del keys
    gc.collect()
    wait_for(
        lambda: (
            not [
                thread
                for thread in threading.enumerate()
                if thread.name == "casemate-login" and thread.is_alive()
            ]
            or gc.collect()
        )
    )


class Front(BaseHTTPRequestHandler):
    """Before an AWS server: what was signed with the key OLD has expired."""

    behind = ""

    def do_POST(self):
        content = self.rfile.read(int(self.headers["Content-Length"]))
        status, answer = (
            400,
            json.dumps({"__type": "ExpiredTokenException", "message": "expired"}).encode(),
        )
        if "Credential=OLD/" not in self.headers["Authorization"]:
            kept = {
                name: self.headers[name]
                for name in ("Content-Type", "X-Amz-Target", "X-Amz-Date", "Authorization")
            }
            with urllib.request.urlopen(
                urllib.request.Request(self.behind, content, kept)
            ) as reply:
                status, answer = reply.status, reply.read()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def test_aws_credentials_that_were_replaced_are_read_again(aws, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Front, "behind", aws.endpoint)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Front)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def credentials(key):
        file.write_text(
            f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\naws_session_token"
            " = t\n"
        )

    credentials("NEW")
    keys = AwsKeys(
        KeysTable(
            provider="aws", region="eu-central-1", endpoint=f"http://127.0.0.1:{server.server_port}"
        ),
        f"p{token_hex(4)}",
    )
    keys.prepare()
    wrapped = keys.wrap("objects", DATA_KEY)
    credentials("OLD")
    del keys._client  # a process that began while these were good
    assert keys._client is not None
    with pytest.raises(BackendError, match="ExpiredTokenException"):
        keys.unwrap("objects", wrapped)
    credentials("NEWER")
    assert keys.unwrap("objects", wrapped) == DATA_KEY
    assert "using those that replaced them" in capsys.readouterr().err
    server.shutdown()
    server.server_close()
