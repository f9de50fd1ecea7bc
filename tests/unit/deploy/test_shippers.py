"""`casemate deploy elasticsearch` and `casemate deploy rsyslog`: whole, the same each time, quoted."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.conftest import TOML

from casemate.config import parse
from casemate.core.errors import ConfigError
from casemate.deploy import elasticsearch, rsyslog
from casemate.watch.logs.line import LogLine
from casemate.watch.sinks.template import template

FILE = '[sinks.lines]\nkind = "file"\nto = "logs/casemate.jsonl"\n'


def test_the_template_has_a_type_for_every_field_of_a_line_and_makes_none_of_what_is_sent():
    mappings = template("logs-x")["template"]["mappings"]
    assert mappings["dynamic"] is False

    def leaves(properties, path=""):
        for name, value in properties.items():
            if "properties" in value:
                yield from leaves(value["properties"], f"{path}{name}.")
            else:
                yield f"{path}{name}", value["type"]

    types = dict(leaves(mappings["properties"]))
    assert sorted(types) == sorted(LogLine.__struct_encode_fields__)
    assert types["@timestamp"] == "date"
    assert types["event.duration"] == types["http.response.status_code"] == "long"
    assert types["event.id"] == "keyword"


def test_a_key_for_elasticsearch_may_add_lines_and_nothing_else():
    config = parse(
        TOML + '[sinks.s]\nkind = "elasticsearch"\nto = "https://e"\nstream = "logs-a"\n'
    )
    files = elasticsearch.render(config)
    assert sorted(files) == ["README.md", "api-key.json", "casemate-logs-a.json"]
    (rights,) = json.loads(files["api-key.json"])["role_descriptors"]["casemate"]["indices"]
    assert rights == {"names": ["logs-a"], "privileges": ["create_doc", "auto_configure"]}
    assert json.loads(files["casemate-logs-a.json"]) == template("logs-a")
    assert files == elasticsearch.render(config)


@pytest.mark.skipif(shutil.which("rsyslogd") is None, reason="rsyslogd is not installed")
@pytest.mark.parametrize("odd", ["plain", 'a "quoted" $HOSTNAME \\ folder'])
def test_rsyslog_accepts_what_is_rendered_whatever_folders_are_called(tmp_path, odd):
    root, work = tmp_path / odd, tmp_path / "work"
    work.mkdir()
    root.mkdir()
    (root / "ca.pem").write_text("")
    (work / "casemate-elasticsearch.password").write_text("pw")
    search = (
        '[sinks.search]\nkind = "elasticsearch"\nto = "https://es.example.org:9243"\n'
        'user = "casemate"\nsecret = "env:ES"\nca = "ca.pem"\n'
    )
    files = rsyslog.render(parse(TOML + FILE + search), root, None, str(work))
    (tmp_path / "casemate.conf").write_bytes(files["casemate.conf"])
    checked = subprocess.run(
        ["rsyslogd", "-N1", "-f", tmp_path / "casemate.conf"], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stderr
    text = files["casemate.conf"].decode()
    assert 'serverport="9243" usehttps="on"' in text
    assert "env:ES" not in text


def test_without_a_file_to_read_or_a_safe_place_to_send_to_nothing_is_rendered():
    with pytest.raises(ConfigError, match="no sink is a file"):
        rsyslog.render(parse(TOML), Path("/p"), None, "/w")
    for url in ("http://es.example.org", "https://es.example.org/path", "ftp://x"):
        with pytest.raises(ConfigError, match="is no https://HOST:PORT"):
            rsyslog.render(parse(TOML + FILE), Path("/p"), url, "/w")
    with pytest.raises(ConfigError, match="cannot be rsyslog's folder"):
        rsyslog.render(parse(TOML + FILE), Path("/p"), None, "/a b")


def test_the_command_renders_and_a_second_time_changes_nothing(tiny_project, cli, monkeypatch):
    monkeypatch.chdir(tiny_project)
    with (tiny_project / "casemate.toml").open("a") as file:
        file.write("\n" + FILE)
    for target in ("elasticsearch", "rsyslog"):
        assert "files written, 0 as they were" in cli("deploy", target, f"../{target}").out
        assert ": 0 files written" in cli("deploy", target, f"../{target}").out
