"""A coordinator and three sites on hosts of their own, each behind a cable that can be pulled: sites
dial out only, what passes is TLS, and a site that was cut off in a round costs nothing but time.
"""

import socket
import struct
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.test_leading_cli import SITES, Owners
from tests.conftest import wait_for
from tests.faults.hosts import Host, Network

from casemate.core.digest import sha256

pytestmark = pytest.mark.slow
EVERYTHING, IPV4, ARP, IPV6 = 0x0003, 0x0800, 0x0806, 0x86DD
IGMP, TCP, ICMPV6 = 2, 6, 58
RCVBUFFORCE, PACKET, ADD_MEMBERSHIP, PROMISCUOUS = 33, 263, 1, 1
"""Of Linux' socket(7) and packet(7); the library has no names for them."""
LARGEST = 1 << 17
"""Bytes of a packet between hosts that are one machine, which cuts none up."""


class Tap:
    """Whatever passes a bridge."""

    def __init__(self, network: Network) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
        self.socket.setsockopt(socket.SOL_SOCKET, RCVBUFFORCE, 1 << 26)
        self.socket.bind((network.bridge, 0))
        everybody = struct.pack("iHH8x", socket.if_nametoindex(network.bridge), PROMISCUOUS, 0)
        self.socket.setsockopt(PACKET, ADD_MEMBERSHIP, everybody)
        self.socket.settimeout(0.2)
        self.streams: dict[tuple[str, int, str, int], dict[int, bytes]] = defaultdict(dict)
        """By sender and receiver: what was sent, by sequence number."""
        self.dialled: set[tuple[str, str, int]] = set()
        """Who opened a connection to whom, at which port."""
        self.others: set[str] = set()
        """What is neither TCP nor how hosts find each other."""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._end.is_set():
            try:
                self._take(self.socket.recv(LARGEST))
            except TimeoutError:
                continue

    def _take(self, frame: bytes) -> None:
        (kind,) = struct.unpack_from("!H", frame, 12)
        packet = frame[14:]
        # before the next header of IPv6, what asks for routers' attention (RFC 2710) may stand
        if kind == ARP or (kind == IPV6 and ICMPV6 in (packet[6], packet[40])):
            return
        if kind == IPV4 and packet[9] == IGMP:  # of the bridge, about groups
            return
        if kind != IPV4 or packet[9] != TCP:
            self.others.add(f"{kind:#x} {packet[:40].hex()}")
            return
        head, (whole,) = (packet[0] & 15) * 4, struct.unpack_from("!H", packet, 2)
        source, target = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        from_port, to_port, number = struct.unpack_from("!HHI", packet, head)
        start, flags = head + (packet[head + 12] >> 4) * 4, packet[head + 13]
        if flags & 0b10010 == 0b10:  # SYN without ACK
            self.dialled.add((source, target, to_port))
        content = packet[start : whole or len(packet)]
        if content:
            self.streams[source, from_port, target, to_port].setdefault(number, content)

    def records(self) -> Iterator[tuple[int, int]]:
        """(content type, version) of each TLS record that passed whole (RFC 8446, section 5.1)."""
        for pieces in self.streams.values():
            first = min(pieces)
            flow = bytearray()
            for number, content in sorted(pieces.items()):
                at = number - first
                assert at <= len(flow), "a packet is missing"
                flow[at : at + len(content)] = content
            while len(flow) >= 5:
                kind, version, size = struct.unpack_from("!BHH", flow)
                yield kind, version
                del flow[: 5 + size]

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join()
        self.socket.close()


def listening(host: Host) -> list[str]:
    """Sockets of a host that somebody could talk to, TCP and UDP."""
    words = [*host.inside, "cat", "/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp"]
    told = subprocess.run([*words, "/proc/net/udp6"], capture_output=True, text=True, check=True)
    sockets = [line.split() for line in told.stdout.splitlines() if "local_address" not in line]
    # state 0A is LISTEN, 07 is what UDP has that is bound
    return [one[1] for one in sockets if one[3] in ("0A", "07")]


@pytest.fixture
def network() -> Iterator[Network]:
    made = Network()
    yield made
    made.close()


def test_a_site_that_is_cut_off_in_a_round_comes_back_and_the_model_is_as_if_it_never_was(
    network: Network, home: Path, tmp_path: Path
) -> None:
    hosts = {name: network.host() for name in ("centre", *SITES)}
    inside = {name: host.inside for name, host in hosts.items()}
    owners = Owners(tmp_path, hosts["centre"].address, inside)
    tap = Tap(network)
    try:
        for name in SITES:
            owners.join(name, "--on")
        lead = owners.lead("--rule", "exact")
        owners.until("centre", 2)
        hosts["south"].cut()
        subprocess.run([*hosts["south"].inside, "ss", "-K"], check=True, capture_output=True)
        wait_for(lambda: "is called again" in owners.said("south").rpartition("round 2")[2], 120)
        assert lead.poll() is None
        assert [listening(hosts[name]) for name in SITES] == [[]] * 3
        assert len(listening(hosts["centre"])) == 1
        hosts["south"].joined()
        owners.ended(lead)
        model = owners.folder / "centre" / "federated" / "wards.skops"
        disturbed = sha256(model.read_bytes())
        owners.require_one_story()
        owners.ended(owners.lead("--rule", "exact"))
        assert sha256(model.read_bytes()) == disturbed
    finally:
        owners.close()
        tap.close()
    centre, port = hosts["centre"].address, int(owners.charter.url.rpartition(":")[2])
    assert tap.dialled == {(hosts[name].address, centre, port) for name in SITES}
    assert tap.others == set()
    kinds = set(tap.records())
    # of TLS 1.3 who greets says 1.0, and nothing but greetings, alerts and data is on the wire
    assert kinds <= {(kind, version) for kind in (20, 21, 22, 23) for version in (0x301, 0x303)}
    assert {kind for kind, _ in kinds} >= {22, 23}
