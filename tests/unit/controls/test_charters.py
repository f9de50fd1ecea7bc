"""Cards and charters: who signed them, and which are none."""

import base64
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from casemate.controls.federation import cards
from casemate.controls.federation.cards import Card, Charter
from casemate.controls.keys.pki import Authority, create_authority
from casemate.core.errors import ConfigError, VerificationError
from casemate.core.signatures import Signer
from casemate.core.types import ColumnSchema, Schema

COLUMNS = Schema(
    target="y",
    classes=["n", "p"],
    columns=[
        ColumnSchema(name="a", type="number", min=0.0, max=1.0, declared=["min", "max"]),
        ColumnSchema(name="y", type="category"),
    ],
)


def owner(name: str) -> tuple[Signer, Card]:
    signer = Signer.generate()
    ecdsa, mldsa65 = signer.verifier.pems
    authority = Authority(*create_authority(name))
    card = Card(
        name=name,
        project=f"{name}-1",
        authority=authority.pem.decode(),
        ecdsa=ecdsa.decode(),
        mldsa65=mldsa65.decode(),
    )
    return signer, card


OWNERS = {name: owner(name) for name in ("centre", "north", "south", "east")}
CARDS = {name: card for name, (_, card) in OWNERS.items()}
CHARTER = Charter(
    name="wards",
    purpose="diagnosis-support",
    url="https://centre.example:8460",
    coordinator=CARDS["centre"],
    sites=[CARDS["north"], CARDS["south"], CARDS["east"]],
    columns=COLUMNS,
    least=2,
)


def signed(charter: Charter, by: str = "centre") -> bytes:
    return cards.signed(charter, cards.CHARTER_TYPE, OWNERS[by][0])


def test_a_card_and_a_charter_come_back_as_their_owners_signed_them():
    content = cards.signed(CARDS["north"], cards.CARD_TYPE, OWNERS["north"][0])
    assert cards.card_in(content) == CARDS["north"]
    assert cards.charter_in(signed(CHARTER)) == CHARTER
    assert cards.charter_in(signed(CHARTER)).digest == CHARTER.digest
    assert CHARTER.site_of(CARDS["south"].fingerprint) == 1
    assert CHARTER.site_of(CARDS["centre"].fingerprint) is None


@pytest.mark.parametrize("changes", [{"name": "a b"}, {"name": "\x1b[2J"}, {"version": 2}])
def test_a_card_whose_name_cannot_be_said_or_of_another_version_is_none(changes):
    signer, card = OWNERS["north"]
    content = cards.signed(structs.replace(card, **changes), cards.CARD_TYPE, signer)
    with pytest.raises(VerificationError, match="no name that can be said, or another version"):
        cards.card_in(content)


@pytest.mark.parametrize("read", [cards.card_in, cards.charter_in])
@pytest.mark.parametrize("given", [Path("wards.charter.json"), signed(CHARTER).decode()])
def test_whoever_gives_a_path_or_text_is_told_that_a_signed_file_is_bytes(read, given):
    with pytest.raises(ConfigError, match="is given as bytes"):
        read(given)


def test_nobody_signs_for_somebody_else():
    with pytest.raises(VerificationError):
        cards.card_in(cards.signed(CARDS["north"], cards.CARD_TYPE, OWNERS["south"][0]))
    with pytest.raises(VerificationError):
        cards.charter_in(signed(CHARTER, "north"))
    # a card is no charter, and one kind of file does not stand for another
    with pytest.raises(VerificationError):
        cards.charter_in(cards.signed(CARDS["north"], cards.CARD_TYPE, OWNERS["north"][0]))
    with pytest.raises(VerificationError):
        cards.card_in(cards.signed(CARDS["north"], cards.CHARTER_TYPE, OWNERS["north"][0]))


@pytest.mark.parametrize("changed", ["purpose", "url", "least", "sites"])
def test_a_charter_that_was_changed_on_the_way_is_refused(changed):
    envelope = json.loads(signed(CHARTER))
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload[changed] = {
        "purpose": "marketing",
        "url": "https://elsewhere.example:8460",
        "least": 3,
        "sites": payload["sites"][:2],
    }[changed]
    envelope["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    with pytest.raises(VerificationError):
        cards.charter_in(json.dumps(envelope).encode())


@pytest.mark.parametrize(
    "url",
    [
        "http://centre.example:8460",
        "https://centre.example",
        "https://:8460",
        "https://centre.example:0",
        "https://centre.example:99999",
        "https://centre.example:8460/",
        "https://centre.example:8460/x",
        "https://centre.example:8460?x",
        "https://centre.example:8460?",
        "https://centre.example:8460#x",
        "https://me:secret@centre.example:8460",
        "https://@centre.example:8460",
        "https://centre .example:8460",
        "https://centre.example:8460\n",
        "https://[::1:8460",
        "https://centre..example:8460",
        f"https://{'a' * 64}.example:8460",
        "",
    ],
)
def test_a_coordinator_listens_at_a_host_and_a_port_and_nothing_else_stands_in_a_url(url):
    with pytest.raises(VerificationError, match="can listen"):
        cards.charter_in(signed(structs.replace(CHARTER, url=url)))


def test_addresses_of_both_kinds_are_hosts():
    assert cards.address_of("https://[::1]:8460") == ("::1", 8460)
    assert cards.address_of("https://127.0.0.1:8460") == ("127.0.0.1", 8460)


NORTH = CARDS["north"]


def columns(**changed: object) -> Schema:
    first, target = COLUMNS.columns
    return structs.replace(COLUMNS, columns=[structs.replace(first, **changed), target])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"sites": [NORTH, NORTH]}, "twice"),
        ({"sites": [NORTH, structs.replace(NORTH, name="other")]}, "twice"),
        (
            {
                "sites": [
                    NORTH,
                    structs.replace(
                        CARDS["south"], authority=NORTH.authority, ecdsa=CARDS["south"].ecdsa
                    ),
                ]
            },
            "twice, by its authority",
        ),
        (
            # the same key in other words
            {"sites": [NORTH, structs.replace(CARDS["south"], ecdsa=NORTH.ecdsa + "\n\n")]},
            "twice, by its ECDSA key",
        ),
        ({"sites": [NORTH, structs.replace(CARDS["centre"], name="again")]}, "twice"),
        ({"sites": [NORTH, structs.replace(CARDS["south"], name="a b")]}, "no name"),
        ({"name": "wards/.."}, "no name"),
        ({"name": "wards\n"}, "no name"),
        ({"least": 1}, "the least"),
        ({"least": 4}, "the least"),
        ({"sites": [NORTH]}, "the least"),
        ({"version": 2}, "another version"),
        ({"columns": columns(min=None)}, "'a' has no limits"),
        ({"columns": columns(min=1.0)}, "'a' has no limits"),
        ({"columns": columns(max=float("nan"))}, "'a' has no limits"),
        ({"columns": columns(max=float("inf"))}, "'a' has no limits"),
        ({"columns": columns(type="category")}, "'a' has no limits"),
        ({"columns": columns(use=False)}, "something to predict it from"),
        ({"columns": structs.replace(COLUMNS, further=["z"])}, "one target"),
        ({"sites": [NORTH, structs.replace(CARDS["south"], authority="none")]}, "no certificate"),
    ],
)
def test_a_charter_in_which_an_owner_counts_twice_or_nobody_can_take_part_is_none(changed, said):
    with pytest.raises(VerificationError, match=said):
        cards.charter_in(signed(structs.replace(CHARTER, **changed)))


def test_a_coordinator_may_be_a_site_with_its_own_card():
    both = structs.replace(CHARTER, sites=[CARDS["centre"], CARDS["north"]])
    assert cards.charter_in(signed(both)).site_of(CARDS["centre"].fingerprint) == 0
    twice = structs.replace(CHARTER, sites=[CARDS["centre"], CARDS["centre"], CARDS["north"]])
    with pytest.raises(VerificationError, match="twice"):
        cards.charter_in(signed(twice))


def test_a_file_that_is_too_large_is_not_looked_at():
    with pytest.raises(VerificationError, match="larger than 8 MiB"):
        cards.card_in(b" " * (cards.MOST + 1))


@given(st.binary(max_size=300) | st.recursive(st.integers() | st.text(max_size=9),
       lambda inner: st.lists(inner, max_size=3)
       | st.dictionaries(st.sampled_from(["payload", "payloadType", "signatures", "sig"]), inner),
       max_leaves=8).map(msgspec.json.encode))  # fmt: skip
def test_any_bytes_are_a_charter_or_refused(content):
    for read in (cards.card_in, cards.charter_in):
        with pytest.raises(VerificationError):
            read(content)


@given(st.binary(max_size=200) | st.text(max_size=50).map(msgspec.json.encode))
def test_any_payload_that_nobody_signed_is_refused(payload):
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": cards.CARD_TYPE,
        "signatures": [{"sig": "", "keyid": ""}],
    }
    with pytest.raises(VerificationError):
        cards.card_in(json.dumps(envelope).encode())


def test_limits_of_a_charter_are_those_of_its_features_and_a_missing_category_is_a_value():
    colour = ColumnSchema(name="c", type="category", categories=["blue", "red"])
    both = structs.replace(COLUMNS, columns=[colour, *COLUMNS.columns])
    found = cards.limits_of(both)
    assert found.numbers == {"a": (0.0, 1.0)}
    assert found.categories == {"c": ["blue", "red", "(missing)"]}
