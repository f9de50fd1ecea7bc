"""`casemate deploy flower`: whole, the same each time, and nothing in it but Flower and the wire."""

import ast
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casemate.controls.federation import wire
from casemate.core.errors import ConfigError
from casemate.deploy import flower
from casemate.deploy.interface import Given

PLAIN = Given(None, Path("/r"), Path("/r/app"), {"lead": "unix:/run/casemate/lead.sock"})  # type: ignore[arg-type]


def rendered(lead: str) -> dict[str, bytes]:
    return flower.render(Given(PLAIN.config, PLAIN.root, PLAIN.folder, {"lead": lead})).files


def test_the_app_is_whole_and_imports_flower_and_the_standard_library_alone() -> None:
    files = flower.render(PLAIN).files
    assert files == flower.render(PLAIN).files
    told = tomllib.loads(files["pyproject.toml"].decode())
    components = told["tool"]["flwr"]["app"]["components"]
    for place in components.values():
        module, _, name = place.partition(":")
        text = files[module.replace(".", "/") + ".py"].decode()
        assert f"\n{name} = " in text
    assert told["project"]["dependencies"] == []
    assert files["casemate_wire/wire.py"] == Path(str(wire.__file__)).read_bytes()
    for name, content in files.items():
        if name.endswith(".py"):
            for node in ast.walk(ast.parse(content)):
                if isinstance(node, ast.ImportFrom):
                    assert (node.module or "").partition(".")[0] != "casemate"
                if isinstance(node, ast.Import):
                    assert all(not one.name.startswith("casemate") for one in node.names)


@given(st.text(max_size=12))
@settings(max_examples=40)
def test_no_address_becomes_anything_but_itself(text: str) -> None:
    for lead in (f"unix:/{text}", f"{text}:8460"):
        try:
            files = rendered(lead)
        except ConfigError:
            continue
        told = tomllib.loads(files["pyproject.toml"].decode())
        assert told["tool"]["flwr"]["app"]["config"] == {"lead": lead, "patience": 120}


@pytest.mark.parametrize(
    "lead",
    [
        "",
        "unix:",
        "unix:relative",
        "host",
        "host:",
        ":80",
        "host:８",
        "host:0",
        "host:99999",
        "[]:80",
    ],
)
def test_an_address_that_nobody_can_dial_is_refused(lead: str) -> None:
    with pytest.raises(ConfigError, match="neither HOST:PORT"):
        rendered(lead)
