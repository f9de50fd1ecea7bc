"""Licences that nobody allowed, and packages that tell none, are findings."""

from email.message import EmailMessage

import pytest

from casemate.core import installed
from casemate.supply.scanners.licences import FOREIGN, UNTOLD, Licences


class Distribution:
    """A package that says something of its licence."""

    version = "1.0"

    def __init__(self, *headers):
        self.metadata = EmailMessage()
        self.metadata["Name"] = "some"
        for name, value in headers:
            self.metadata[name] = value


def found(monkeypatch, *headers, allowed=("MIT", "Apache-2.0", "BSD License")):
    monkeypatch.setattr(installed.metadata, "distributions", lambda: [Distribution(*headers)])
    return [hit.rule for hit in Licences(allowed).look(None).hits]


MIT = ("Classifier", "License :: OSI Approved :: MIT License")
BSD = ("Classifier", "License :: OSI Approved :: BSD License")


@pytest.mark.parametrize(
    ("headers", "rules"),
    [
        ([("License-Expression", "MIT")], []),
        ([("License-Expression", "mit")], []),
        ([("License-Expression", "GPL-3.0-only OR MIT")], []),
        ([("License-Expression", "GPL-3.0-only AND MIT")], [FOREIGN]),
        ([("License-Expression", "MIT AND (Apache-2.0 OR GPL-3.0-only)")], []),
        ([("License-Expression", "Apache-2.0 WITH LLVM-exception")], [FOREIGN]),
        ([("License-Expression", "MIT AND")], [FOREIGN]),
        ([BSD], []),
        ([BSD, MIT], [FOREIGN]),
        ([MIT, ("License", "MIT")], []),
        ([("License", "MIT")], []),
        ([("License", "Do what you want " * 50)], [UNTOLD]),
        # what a package says by the newer way counts alone
        ([("License-Expression", "GPL-3.0-only"), ("License", "MIT")], [FOREIGN]),
        ([], [UNTOLD]),
    ],
)
def test_a_package_may_have_what_is_allowed_and_nothing_else(headers, rules, monkeypatch):
    assert found(monkeypatch, *headers) == rules


def test_a_whole_expression_may_be_allowed_as_it_is_written(monkeypatch):
    headers = [("License-Expression", "Apache-2.0 WITH LLVM-exception")]
    assert found(monkeypatch, *headers, allowed=["apache-2.0 with llvm-exception"]) == []
