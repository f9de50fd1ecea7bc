"""Real receivers of log lines, each on free ports of this machine, ended with its process group."""

import contextlib
import datetime
import ipaddress
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from tests.conftest import wait_for
from tests.interop.test_telemetry import listens
from tests.ports import free_port

from casemate.watch.logs.line import LogLine
from casemate.watch.sinks.interface import Item


def line(number, **more):
    """A log line like those of a gateway; the same number is the same event."""
    values = {
        "time": f"2026-11-29T08:00:00.{number % 1000:03d}Z",
        "level": "info",
        "message": f"line {number} was answered",
        "id": f"event-{number:06d}",
        "dataset": "casemate.request",
        "action": "infer",
        "outcome": "success",
        "status": 200,
        "user": 'Service::"ward"',
        "trace": f"{number + 1:032x}",
    }
    return LogLine(**values | more)


def item(content):
    return Item(content, msgspec.json.encode(content))


def items(count, start=0):
    return [item(line(number)) for number in range(start, start + count)]


@contextlib.contextmanager
def started(words, folder, port):
    """A server that listens on a port; its output lies in the folder."""
    told = folder / f"{Path(words[0]).name}.log"
    with told.open("a") as log:
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(lambda: process.poll() is not None or listens(port))
        assert process.poll() is None, told.read_text()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(10)
        # the program may be a wrapper: its server ends after it, and writes what it has answered
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not lives(process.pid), 10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def lives(group):
    """Whether a process of a group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextlib.contextmanager
def noida(folder):
    """The URL of a server that speaks Elasticsearch 8."""
    program = Path(sys.prefix) / "bin" / "noida-db"
    if not program.exists():
        pytest.skip("noida-db is a development requirement")
    port = free_port()
    words = ["start", "--data-dir", folder / "es", "--only", "elasticsearch"]
    with started([program, *words, "--elasticsearch-port", port], folder, port):
        yield f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def rotel(folder):
    """(URL, reads what it got) of an OpenTelemetry collector."""
    package = pytest.importorskip("rotel", reason="rotel is a development requirement")
    program = Path(package.__path__[0]) / "rotel-agent"
    ports = free_port(), free_port()
    words = ["start", "--exporter", "blackhole", "--debug-log-verbosity", "detailed"]
    words += ["--debug-log", "logs", "--debug-log", "metrics"]
    words += ["--otlp-grpc-endpoint", f"127.0.0.1:{ports[0]}"]
    words += ["--otlp-http-endpoint", f"127.0.0.1:{ports[1]}"]
    with started([program, *words], folder, ports[1]):
        yield f"http://127.0.0.1:{ports[1]}", (folder / "rotel-agent.log").read_text


@contextlib.contextmanager
def rsyslogd(folder, configuration, port):
    """An rsyslogd with this configuration."""
    if shutil.which("rsyslogd") is None:
        pytest.skip("rsyslogd is not installed")
    (folder / "rsyslog.conf").write_text(configuration)
    words = ["rsyslogd", "-n", "-f", folder / "rsyslog.conf", "-i", folder / "rsyslog.pid"]
    with started(words, folder, port) as process:
        yield process


def listening(folder, port, module="imtcp", driver="ossl"):
    """A configuration of rsyslog with TLS that writes what it gets as JSON lines."""
    return f"""global(
  workDirectory="{folder}" DefaultNetstreamDriver="{driver}"
  DefaultNetstreamDriverCAFile="{folder}/ca.pem"
  DefaultNetstreamDriverCertFile="{folder}/server.pem"
  DefaultNetstreamDriverKeyFile="{folder}/server.key")
module(load="{module}" StreamDriver.Name="{driver}" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
template(name="got" type="list") {{
  property(name="jsonmesg") constant(value="\\n") }}
ruleset(name="r") {{ action(type="omfile" file="{folder}/got.jsonl" template="got") }}
input(type="{module}" port="{port}" address="127.0.0.1" ruleset="r")
"""


def certificates(folder, name="127.0.0.1"):
    """`ca.pem`, `server.pem` and `server.key`: a server's certificate and who vouches for it."""
    now = datetime.datetime.now(datetime.UTC)

    def issued(subject, key, issuer, signer, *extensions):
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(signer, hashes.SHA256())

    authority, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    names = [x509.IPAddress(ipaddress.ip_address(name)), x509.DNSName("localhost")]
    root = issued(
        "test authority",
        authority,
        "test authority",
        authority,
        x509.BasicConstraints(ca=True, path_length=None),
    )
    leaf = issued(name, key, "test authority", authority, x509.SubjectAlternativeName(names))
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(root.public_bytes(pem))
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem))
    (folder / "server.key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
