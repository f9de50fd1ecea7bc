"""A site's connection that somebody else carries, piece by piece: TLS holds from end to end, and
whatever the carrier does to a piece ends the connection and changes nothing.
"""

import contextlib
import os
import resource
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operations.owners import LEADER, OWNERS, charter, meeting_of

from casemate.controls.federation import wire
from casemate.controls.federation.messages import Hello, Next, Welcome
from casemate.controls.federation.wire import NONE, Lost, Piece, carry, exchanged, unpacked
from casemate.core.errors import BusyError, ConfigError
from casemate.operations.federated import calling
from casemate.operations.federated.calling import Line
from casemate.operations.federated.carried import Wire, listener_at
from casemate.operations.federated.listening import listening

CHARTER = charter(3)
MOST = 3_000_000
Change = Callable[[Piece], Piece]


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Private, with a short name: a socket's path is a short one."""
    made = tmp_path_factory.mktemp("w")
    made.chmod(0o700)
    return made


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in {"QUIET": 0.05, "PAUSE": 0.05, "BRIEF": 0.1, "ASK_HOLD": 0.5}.items():
        monkeypatch.setattr(wire, name, seconds)


def line(folder: Path, dial: Callable[[], socket.socket], number: int = 0) -> Line:
    own = OWNERS[number]
    return Line(CHARTER, own.name, own.authority, folder, patience=20, dial=dial)


class Carrier:
    """Flower, in a thread: brings pieces from the coordinator's socket to the site's and back."""

    def __init__(self, site: Path, lead: Path, change: Change = lambda piece: piece) -> None:
        self.site, self.lead, self.change = site, lead, change
        self.seen: list[bytes] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(
            target=carry, args=(self.call, self.dial, self.ended.is_set), daemon=True
        )

    def call(self, piece: Piece) -> Piece:
        if self.ended.is_set():
            raise Lost
        sent = self.change(piece)
        found = exchanged(self.site, sent.packed())
        self.seen += [sent.content, unpacked(found).content]
        return self.change(unpacked(found))

    def dial(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(self.lead))
        return made

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()


@contextlib.contextmanager
def coordinator(folder: Path) -> Iterator[Path]:
    place = folder / "lead.sock"
    with listening(meeting_of(CHARTER, poll=0.1), LEADER.authority, folder, place, MOST):
        yield place


@contextlib.contextmanager
def site(folder: Path, number: int = 0) -> Iterator[tuple[Line, Path]]:
    place = folder / f"{number}.sock"
    made = Wire(place)
    said = line(folder, made.dial, number)
    try:
        yield said, place
    finally:
        said.close()
        made.close()


HELLO = Hello(charter=CHARTER.digest, versions={})


def test_what_is_carried_is_said_by_the_site_that_says_it_and_nobody_on_the_way_reads_it(
    folder: Path,
) -> None:
    with coordinator(folder) as lead, site(folder, 2) as (said, place):
        with Carrier(place, lead) as carrier:
            found = said.say(HELLO)
            assert isinstance(found, Welcome)
            assert found.site == 2
            assert isinstance(said.say(HELLO), Welcome)  # by the same connection
        way = b"".join(carrier.seen)
    assert CHARTER.digest.encode() in msgspec.msgpack.encode(HELLO)
    assert CHARTER.digest.encode() not in way
    assert OWNERS[2].name.encode() not in way  # of TLS 1.3 the certificate is not seen either
    assert not place.exists()
    assert not lead.exists()


def test_a_message_of_many_pieces_arrives_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MOST", 50_000)
    large = Hello(charter=CHARTER.digest, versions={"numpy": "1" * 400_000})
    with coordinator(folder) as lead, site(folder) as (said, place):
        with Carrier(place, lead) as carrier:
            assert isinstance(said.say(large), Welcome)
            assert max(map(len, carrier.seen)) == 50_000


class Once:
    """Changes one piece with content, the third one, and no other."""

    def __init__(self, change: Change) -> None:
        self.change, self.count = change, 0

    def __call__(self, piece: Piece) -> Piece:
        self.count += bool(piece.content)
        if self.count == 3 and piece.content:
            self.count += 1
            return self.change(piece)
        return piece


def flipped(piece: Piece) -> Piece:
    content = bytearray(piece.content)
    content[-1] ^= 1
    return piece._replace(content=bytes(content))


@pytest.mark.parametrize(
    "change",
    [
        flipped,
        lambda piece: piece._replace(content=piece.content[:-1]),
        lambda piece: piece._replace(content=2 * piece.content),
        lambda piece: piece._replace(number=piece.number + 1),
        lambda piece: piece._replace(stream=b"1" * len(NONE)),
        lambda piece: piece._replace(ends=True),
    ],
    ids=["flipped", "shortened", "repeated", "skipped", "of another", "ended"],
)
def test_a_piece_that_was_changed_ends_the_connection_and_the_site_says_it_again(
    folder: Path, change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "HOLD", 1.0)
    monkeypatch.setattr(wire, "ANSWER", 0.3)
    monkeypatch.setattr(calling, "CARRIED_STEP", 2.0)
    changes = Once(change)
    with coordinator(folder) as lead, site(folder) as (said, place):
        with Carrier(place, lead, changes):
            assert isinstance(said.say(HELLO), Welcome)
            assert isinstance(said.say(HELLO), Welcome)
    assert changes.count > 3


def test_a_carrier_that_begins_anew_finds_the_site_where_it_is(folder: Path) -> None:
    with coordinator(folder) as lead, site(folder) as (said, place):
        with Carrier(place, lead):
            assert isinstance(said.say(HELLO), Welcome)
        with Carrier(place, lead):
            assert isinstance(said.say(HELLO), Welcome)


def test_a_coordinator_that_is_not_there_yet_is_dialled_again(folder: Path) -> None:
    with site(folder) as (said, place), Carrier(place, folder / "lead.sock"):
        answers: list[object] = []
        asking = threading.Thread(target=lambda: answers.append(said.say(HELLO)), daemon=True)
        asking.start()
        time.sleep(0.3)
        with coordinator(folder):
            asking.join(20)
        assert isinstance(answers[0], Welcome)


def test_nobody_at_the_site_is_no_connection(folder: Path) -> None:
    assert unpacked(exchanged(folder / "none.sock", Piece().packed())) == Piece()
    lost = Piece(b"2" * 16, 4, b"x")
    assert unpacked(exchanged(folder / "none.sock", lost.packed())) == Piece()


def test_what_is_no_piece_is_not_answered_and_hurts_nobody(folder: Path) -> None:
    with coordinator(folder) as lead, site(folder) as (said, place):
        for raw in (b"", b"GET / HTTP/1.1\r\n\r\n", b"cmw2" + bytes(21), b"cmw1" + b"\xff" * 21):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.settimeout(10)
                stranger.connect(str(place))
                stranger.sendall(raw)
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(1) == b""
        with Carrier(place, lead):
            assert isinstance(said.say(Next(job="1" * 32)), object)


def test_a_process_without_descriptors_for_a_moment_hears_carriers_afterwards(folder: Path) -> None:
    with site(folder) as (_, place), contextlib.ExitStack() as stack:
        carriers = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(3)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(carriers[0].fileno())
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            for carrier in carriers:
                carrier.connect(str(place))
            time.sleep(0.2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for carrier in carriers:
            carrier.settimeout(10)
            carrier.sendall(Piece().packed())
            carrier.shutdown(socket.SHUT_WR)
            assert unpacked(wire.whole(carrier, 10)) == Piece()


@pytest.mark.parametrize("mode", [0o701, 0o770, 0o755, 0o777])
def test_a_folder_that_others_can_enter_or_change_holds_no_socket(folder: Path, mode: int) -> None:
    folder.chmod(mode)
    with pytest.raises(ConfigError, match="others may enter"):
        listener_at(folder / "x.sock", 1)
    assert not (folder / "x.sock").exists()


def test_a_group_may_be_let_in(folder: Path) -> None:
    folder.chmod(0o2710)
    with contextlib.closing(listener_at(folder / "x.sock", 1)):
        assert stat.S_IMODE((folder / "x.sock").stat().st_mode) == 0o660


def test_a_socket_that_is_in_use_or_no_socket_is_left_alone_and_a_left_one_is_replaced(
    folder: Path,
) -> None:
    place = folder / "x.sock"
    first = listener_at(place, 1)
    with pytest.raises(BusyError, match="another process"):
        listener_at(place, 1)
    first.close()  # as after kill -9: the file stays
    listener_at(place, 1).close()
    place.unlink()
    place.write_text("mine")
    with pytest.raises(BusyError, match="no socket"):
        listener_at(place, 1)
    assert place.read_text() == "mine"
    with pytest.raises(ConfigError, match="too long"):
        listener_at(folder / ("x" * 120), 1)
    with pytest.raises(ConfigError, match="cannot be entered"):
        listener_at(folder / "no" / "x.sock", 1)


@given(
    st.builds(
        Piece,
        stream=st.binary(min_size=16, max_size=16),
        number=st.integers(0, 2**32 - 1),
        content=st.binary(max_size=50),
        ends=st.booleans(),
        more=st.booleans(),
    )
)
def test_a_piece_is_what_it_was(piece: Piece) -> None:
    assert unpacked(piece.packed()) == piece


@given(st.binary(max_size=60))
def test_anything_else_is_none(raw: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert unpacked(raw).packed() == raw


def test_a_piece_has_an_end() -> None:
    with pytest.raises(ValueError, match="length"):
        unpacked(Piece(os.urandom(16)).packed() + bytes(wire.MOST + 1))
