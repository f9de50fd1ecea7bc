"""`[sinks.NAME]` and `[spool]`: what does not go together is refused before anything is sent."""

import pytest
from tests.conftest import TOML

from casemate.config import parse
from casemate.core.errors import ConfigError


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('kind = "elasticsearch"\nto = "http://es.example.org:9200"', "to: is not https"),
        ('kind = "elasticsearch"\nto = "https://me:pw@es.example.org"', "holds a password"),
        ('kind = "elasticsearch"\nto = "https://es.example.org?x=1"', "is no address"),
        ('kind = "elasticsearch"\nto = "https://es.example.org:x"', "is no address"),
        ('kind = "elasticsearch"\nto = "es.example.org:9200"', "is no address"),
        ('kind = "elasticsearch"\nto = "https://e"\nuser = "me"', "with a password in secret"),
        ('kind = "elasticsearch"\nto = "https://e"\nstream = "_x"', "stream"),
        ('kind = "otlp"\nto = "https://c"\nuser = "me"\nsecret = "env:X"', "user: is for"),
        ('kind = "splunk"\nto = "https://s:8088"', "the token of the collector is missing"),
        ('kind = "syslog"\nto = "tcp://logs.example.org:514"', "to: is not tls://"),
        ('kind = "syslog"\nto = "tls://logs.example.org"', "to: is not tls://HOST:PORT"),
        ('kind = "syslog"\nto = "tls://l:6514"\nsecret = "env:X"', "secret: syslog has none"),
        ('kind = "syslog"\nto = "tcp://127.0.0.1:514"\nca = "ca.pem"', "ca: is for https and tls"),
        ('kind = "file"\nto = "x.jsonl"\nsecret = "env:X"', "secret: file has none"),
        ('kind = "kafka"\nto = "x"', "unknown 'kafka'; known are elasticsearch"),
        ('kind = "file"\nto = "x"\nwhat = []', "what"),
    ],
)
def test_a_sink_that_cannot_work_or_would_leak_is_refused(table, said):
    with pytest.raises(ConfigError) as caught:
        parse(f"{TOML}[sinks.one]\n{table}\n")
    assert said in caught.value.message


@pytest.mark.parametrize(
    "table",
    [
        'kind = "elasticsearch"\nto = "https://es.example.org:9200"\nsecret = "env:ES_KEY"',
        'kind = "elasticsearch"\nto = "http://127.0.0.1:9200"',
        'kind = "elasticsearch"\nto = "https://e/es"\nuser = "me"\nsecret = "file:pw"\nca = "ca.pem"',
        'kind = "syslog"\nto = "tls://logs.example.org:6514"\nca = "ca.pem"\nwhat = ["alarm"]',
        'kind = "syslog"\nto = "tcp://[::1]:514"',
        'kind = "splunk"\nto = "https://s:8088"\nsecret = "env:HEC"',
        'kind = "otlp"\nto = "https://collector.example.org:4318"',
        'kind = "file"\nto = "logs/casemate.jsonl"\nrotate_megabytes = 5\nkeep = 0',
    ],
)
def test_a_sink_of_every_kind_can_be_said(table):
    assert list(parse(f"{TOML}[sinks.one]\n{table}\n").sinks) == ["one"]
