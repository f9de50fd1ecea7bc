"""Files of playbooks: what is no playbook is refused with its line, before anything is done."""

import pytest

from casemate.core.errors import ConfigError
from casemate.operations.playbooks import forces
from casemate.operations.playbooks.steps import doing
from casemate.respond.playbooks import book
from casemate.respond.playbooks.kinds import KINDS, VARIABLES
from casemate.respond.states import Incident

HEAD = 'title = "t"\n[when]\ncauses = ["model"]\n'


def step(name="a", do="rollback", more=""):
    return f'[[steps]]\nname = "{name}"\ndo = "{do}"\n{more}\n'


def read(text, name="b"):
    return book.read(name, text.encode())


def test_every_kind_of_step_can_be_done_and_says_how_it_is_proven():
    assert set(doing()) == set(KINDS)
    assert all(kind.proof and kind.does for kind in KINDS.values())
    assert {kind.of for kind in KINDS.values() if kind.of} <= set(VARIABLES)
    # what cannot be undone needs two persons
    assert {name for name, kind in KINDS.items() if kind.people >= 2} == {
        "revoke-token",
        "revoke-certificate",
    }


@pytest.mark.parametrize("name", sorted(forces.starters()))
def test_playbooks_that_ship_are_playbooks(name):
    assert book.read(name, forces.starters()[name]).steps


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + step(do="reboot"), r"b.toml:4: step 'a': nothing is called 'reboot'"),
        (HEAD + step() + step(), r"b.toml:8: step 'a': another step has that name"),
        (HEAD + step(more='needs = ["b"]'), r"b.toml:4: step 'a': there is no step 'b'"),
        (
            HEAD + step("a", more='needs = ["b"]') + step("b", more='unless = "a"'),
            r"b.toml:\d: steps wait for one another: . <- . <- .",
        ),
        (HEAD + step(more='of = "$moon"'), r"there is no variable \$moon"),
        (HEAD + step(do="retrain", more='of = "x"'), "retrain takes no `of`"),
        (HEAD + step(do="revoke-token"), "`of` is missing: a token's id"),
        (HEAD + step(do="contain"), "`needs` is missing"),
        (HEAD + step(more="approvals = 9"), r"b.toml:4: .*approvals"),
        (HEAD + step(more="colour = 1"), r"b.toml:4: .*colour"),
        (HEAD + step("A b"), r"b.toml:4: "),
        (HEAD, "has 0 steps|missing required field"),
        (HEAD.replace("model", "moon") + step(), "b.toml:2: there is no cause of the kind 'moon'"),
        ('title = "t"\n[when]\n' + step(), "b.toml:2: it says neither causes nor alerts"),
        ("title = \n", r"b.toml:1: "),
        ("\x00", "b.toml"),
        ("steps = 1", "b.toml"),
        (HEAD + "".join(step(f"s{n}") for n in range(51)), "takes 1 to 50"),
        (HEAD + "#" * 70_000, "more than 65536 bytes"),
    ],
)
def test_what_is_no_playbook_is_refused_with_its_line(text, said):
    with pytest.raises(ConfigError, match=said):
        read(text)


@pytest.mark.parametrize("name", ["", "A", "a/b", "../a", "a" * 41, "a b"])
def test_a_playbook_has_a_plain_name(name):
    with pytest.raises(ConfigError, match="is called by small letters"):
        read(HEAD + step(), name)


def incident(**changes):
    found = {"id": 1, "title": "t", "root": "model:m@2", "chain": ("model:m@2",)}
    found |= {"severity": "high", "opened": "2026-11-29T08:00:00+00:00"}
    return Incident(**{**found, **changes})


def test_a_playbook_fits_where_all_that_it_says_holds():
    said = read(
        'title = "t"\n[when]\ncauses = ["model"]\nalerts = ["quality-*"]\nseverity = "high"\n'
        + step()
    )
    assert said.fits(incident(), ["quality-realised", "drift"], 1)
    assert not said.fits(incident(), ["drift"], 1)
    assert not said.fits(incident(root="dataset:d"), ["quality-realised"], 1)
    assert not said.fits(incident(severity="medium"), ["quality-realised"], 1)
    assert not said.fits(incident(state="closed"), ["quality-realised"], 1)
    assert not said.fits(incident(), ["quality-realised"], 0)


def test_a_step_needs_as_many_persons_as_its_kind_and_its_author_ask_for():
    said = read(
        HEAD
        + step("a", "revoke-token", 'of = "x"\napprovals = 1')
        + step("b", "rollback", "approvals = 3")
        + step("c")
    )
    assert [one.people for one in said.steps] == [2, 3, 0]
