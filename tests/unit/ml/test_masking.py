"""Secure aggregation: sums without addends, whoever drops out, and what sites refuse to do."""

import msgspec
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from casemate.core import hybrid
from casemate.core.errors import ConfigError, VerificationError
from casemate.ml.federated import secure
from casemate.ml.federated.masking import (
    MaskRefused,
    Member,
    Sealed,
    Terms,
    _Shares,
    half_of,
    info,
    opened_half,
    opened_shares,
    private_of,
    require,
)
from casemate.ml.federated.ring import OutOfRange, Range, stream
from casemate.ml.federated.shares import Share, combine, split
from casemate.ml.federated.unmasking import Gatherer

SIZE, SITES = 200, 7
TERMS = Terms(session="s", round=4, size=SIZE, most=100.0, threshold=5)
VECTORS = {i: np.random.default_rng(i).normal(0, 5, SIZE) for i in range(SITES)}
KEYS = {i: Ed25519PrivateKey.generate() for i in range(SITES)}
verify = secure.verifier({i: key.public_key() for i, key in KEYS.items()})


class Play:
    """A round, step by step; `gone` are sites that fall silent before a step."""

    def __init__(self, terms=TERMS, sites=SITES):
        self.terms = terms
        self.members = {i: Member(terms, i, KEYS[i].sign, verify) for i in range(sites)}
        self.gatherer = Gatherer(terms)

    def advertise(self):
        self.roster = self.gatherer.roster([m.advertise() for m in self.members.values()])
        return self

    def share(self, gone=()):
        self.there = [i for i in self.members if i not in gone]
        self.inbox = self.gatherer.forward(
            {i: self.members[i].share(self.roster) for i in self.there}
        )
        return self

    def mask(self, gone=()):
        self.there = [i for i in self.there if i not in gone]
        self.masked = {i: self.members[i].mask(self.inbox[i], VECTORS[i]) for i in self.there}
        for one in self.masked.values():
            self.gatherer.add(one)
        return self

    def agree(self, gone=()):
        heard = self.gatherer.heard()
        self.there = [i for i in self.there if i not in gone]
        self.agreements = self.gatherer.agreed([self.members[i].agree(heard) for i in self.there])
        return self

    def finish(self, gone=()):
        self.there = [i for i in self.there if i not in gone]
        return self.gatherer.finish([self.members[i].reveal(self.agreements) for i in self.there])


@pytest.mark.parametrize("gone", [(), (0,), (6,), (2, 5)])
@pytest.mark.parametrize("step", ["share", "mask", "agree", "finish"])
def test_the_masked_sum_is_the_plain_sum_of_whoever_was_heard_whichever_step_sites_miss(step, gone):
    play = Play().advertise().share(gone if step == "share" else ())
    play.mask(gone if step == "mask" else ()).agree(gone if step == "agree" else ())
    found = play.finish(gone if step == "finish" else ())
    heard = [i for i in range(SITES) if i not in gone or step in ("agree", "finish")]
    plain = sum(VECTORS[i] for i in heard)
    assert found.heard == heard
    assert np.abs(found.total - plain).max() <= found.error < 1e-9
    assert np.linalg.norm(found.total - plain) < 1e-6 * np.linalg.norm(plain)


@pytest.mark.parametrize("step", ["share", "mask", "agree", "finish"])
def test_with_fewer_sites_than_the_threshold_a_round_gives_nothing(step):
    gone = (0, 1, 2)
    play = Play().advertise()
    with pytest.raises(VerificationError, match=r"4 sites .*it takes 5|agreed on"):
        play.share(gone if step == "share" else ())
        play.mask(gone if step == "mask" else ()).agree(gone if step == "agree" else ())
        play.finish(gone if step == "finish" else ())


def test_one_update_under_its_masks_looks_like_chance_and_never_twice_alike():
    sent = []
    for _ in range(10):
        play = Play().advertise().share().mask()
        sent.append(np.frombuffer(play.masked[3].content, dtype="<u8"))
    bits = np.unpackbits(np.concatenate(sent).view(np.uint8))
    # 128 000 bits: five deviations of a fair coin's share are .007
    assert abs(bits.mean() - 0.5) < 0.007
    shares = np.concatenate(sent) / 2.0**64
    assert abs(np.corrcoef(shares[:SIZE], VECTORS[3])[0, 1]) < 0.36
    assert len({one.tobytes() for one in sent}) == 10


def test_one_other_update_changes_the_sum_by_itself_and_a_lost_mask_is_noticed():
    play = Play().advertise().share().mask().agree()
    revealed = [play.members[i].reveal(play.agreements) for i in play.there]
    revealed[2] = msgspec.structs.replace(revealed[2], own=bytes(32))
    with pytest.raises(OutOfRange, match="larger than sites can have sent"):
        play.gatherer.finish(revealed)


def test_shares_that_a_site_made_up_are_noticed_and_spoil_the_round_aloud():
    play = Play().advertise().share().mask((6,)).agree()
    revealed = [play.members[i].reveal(play.agreements) for i in play.there]
    false = msgspec.structs.replace(revealed[0].masters[6], halves=[bytes(16), bytes(16)])
    revealed[0] = msgspec.structs.replace(revealed[0], masters={6: false})
    with pytest.raises(MaskRefused, match="shares of site 6 are not of its secret"):
        play.gatherer.finish(revealed)


def test_no_site_reveals_both_secrets_of_another_and_none_of_who_was_heard():
    play = Play().advertise().share().mask((6,)).agree()
    for site in play.there:
        told = play.members[site].reveal(play.agreements)
        assert set(told.masks) == {0, 1, 2, 3, 4, 5}
        assert set(told.masters) == {6}


@pytest.mark.parametrize("threshold", [0, 1, 2])
def test_a_coordinator_that_would_be_content_with_few_sites_hears_nothing(threshold):
    with pytest.raises(MaskRefused, match="are the least here"):
        require(msgspec.structs.replace(TERMS, threshold=threshold))
    with pytest.raises(MaskRefused, match="6 are the least here"):
        Member(TERMS, 0, KEYS[0].sign, verify, least=6)


def test_the_sum_of_one_or_of_few_sites_is_refused_by_every_site():
    for heard in ([0], [0, 1, 2, 3]):
        play = Play().advertise().share().mask()
        with pytest.raises(MaskRefused, match=f"asks for the sum of {len(heard)} sites"):
            play.members[0].agree(heard)
    play = Play().advertise().share()
    with pytest.raises(MaskRefused, match="3 sites would be in the sum"):
        play.members[0].mask(play.inbox[0][:2], VECTORS[0])


def test_who_was_heard_is_signed_so_two_stories_get_no_secret_out_of_anybody():
    play = Play().advertise().share().mask()
    told = [play.members[i].agree([0, 1, 2, 3, 4, 5]) for i in range(3)]
    told += [play.members[i].agree([1, 2, 3, 4, 5, 6]) for i in range(3, 6)]
    with pytest.raises(VerificationError, match="did not sign"):
        play.members[0].reveal(told)
    with pytest.raises(MaskRefused, match="3 sites agreed"):
        Play().advertise().share().mask().agree().members[0].reveal(told[:3])


def test_a_coordinator_cannot_slip_in_keys_of_its_own_or_invent_sites():
    play = Play().advertise()
    other = Member(TERMS, 1, Ed25519PrivateKey.generate().sign, verify).advertise()
    with pytest.raises(VerificationError, match="site 1 did not sign"):
        play.members[0].share([other if one.site == 1 else one for one in play.roster])
    play = Play().advertise()
    with pytest.raises(MaskRefused, match="another key as this site's"):
        play.members[1].share([other if one.site == 1 else one for one in play.roster])
    play = Play().advertise()
    extra = msgspec.structs.replace(other, site=99)
    with pytest.raises(VerificationError, match="site 99 did not sign"):
        play.members[0].share([*play.roster[:-1], extra])
    with pytest.raises(MaskRefused, match="names 7 sites"):
        Play().advertise().members[0].share([*play.roster, play.roster[0]])


def test_a_threshold_of_two_thirds_or_less_is_refused_because_two_stories_could_be_told():
    terms = msgspec.structs.replace(TERMS, threshold=4)
    play = Play(terms, 6).advertise()
    with pytest.raises(MaskRefused, match="more than two thirds"):
        raise_from(play)


def raise_from(play):
    try:
        play.members[0].share(play.roster)
    except MaskRefused as error:
        raise MaskRefused(error.hint) from error


def test_a_round_never_goes_back_and_no_step_is_done_twice():
    play = Play().advertise()
    with pytest.raises(MaskRefused, match="asks for step 0, and step 1 is next"):
        play.members[0].advertise()
    play.share().mask()
    with pytest.raises(MaskRefused, match="asks for step 2, and step 3"):
        play.members[0].mask(play.inbox[0], VECTORS[0])
    with pytest.raises(MaskRefused, match="that nobody asked for"):
        play.gatherer.add(play.masked[0])
    with pytest.raises(MaskRefused, match="asks for step 4, and step 3"):
        play.members[0].reveal([])


def test_messages_of_another_round_or_for_another_site_cannot_be_opened():
    older = Play(msgspec.structs.replace(TERMS, round=3)).advertise().share()
    play = Play().advertise().share()
    swapped = [older.inbox[0][0], *play.inbox[0][1:]]
    with pytest.raises(MaskRefused, match="cannot be opened"):
        play.members[0].mask(swapped, VECTORS[0])
    with pytest.raises(MaskRefused, match="not for this site, or twice"):
        play.members[1].mask(play.inbox[0], VECTORS[1])
    with pytest.raises(MaskRefused, match="sends a message of site|did not seal"):
        Play().advertise().gatherer.forward({0: play.inbox[0]})


def test_what_is_sealed_is_bound_to_session_round_sender_and_receiver_under_the_same_key():
    raw, public = hybrid.pair()
    shares = _Shares(*(Share(number=1, halves=[bytes(16)] * 2) for _ in range(2)))

    def sealed(what, content):
        key = hybrid.public_key(public)
        return hybrid.SUITE.encrypt(content, key, info=info(TERMS, what, 0, 1))

    half, told = sealed("half", bytes(32)), sealed("shares", msgspec.msgpack.encode(shares))
    key, one = hybrid.private_key(raw), Sealed(sender=0, receiver=1, half=half, shares=told)
    assert (opened_half(TERMS, one, key), opened_shares(TERMS, one, key)) == (bytes(32), shares)
    for terms, message in (
        (msgspec.structs.replace(TERMS, round=5), one),
        (msgspec.structs.replace(TERMS, session="t"), one),
        (TERMS, msgspec.structs.replace(one, sender=2)),
        (TERMS, msgspec.structs.replace(one, receiver=2)),
        (TERMS, msgspec.structs.replace(one, half=told, shares=half)),
    ):
        for opened in (opened_half, opened_shares):
            with pytest.raises(MaskRefused, match="cannot be opened"):
                opened(terms, message, key)


def test_who_brings_back_a_site_that_dropped_out_learns_its_halves_and_no_share_that_it_held():
    play = Play().advertise().share().mask(gone=(2,)).agree()
    revealed = [play.members[i].reveal(play.agreements) for i in play.there]
    master = combine([one.masters[2] for one in revealed], TERMS.threshold)
    key = hybrid.private_key(private_of(master))
    (message,) = [one for one in play.inbox[2] if one.sender == 0]
    assert opened_half(TERMS, message, key) == half_of(play.members[0]._master, 2)
    with pytest.raises(MaskRefused, match="cannot be opened"):
        opened_shares(TERMS, message, key)


@pytest.mark.parametrize("value", [np.nan, np.inf, 100.5, -101.0])
def test_a_number_that_does_not_fit_is_refused_aloud_and_never_clipped(value):
    play = Play().advertise().share()
    with pytest.raises(OutOfRange, match="range is 100"):
        play.members[0].mask(play.inbox[0], np.append(VECTORS[0][:-1], value))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.integers(1, 200))
def test_numbers_come_out_of_the_ring_within_half_a_step(values, sites):
    limits = Range(50.0, sites)
    found = limits.decode(limits.encode(np.array(values)), 1)
    assert np.abs(found - values).max() <= limits.step / 2


def test_ranges_that_leave_too_few_digits_are_refused():
    with pytest.raises(ConfigError, match="leave 11 binary digits"):
        Range(2.0**44, 100)
    for most in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(ConfigError):
            Range(most, 3)


def test_a_stream_is_the_same_for_the_same_seed_only():
    assert np.array_equal(stream(bytes(32), 9), stream(bytes(32), 9))
    assert not np.intersect1d(stream(bytes(32), 99), stream(bytes(31) + b"\1", 99)).size


def test_shares_bring_a_secret_back_and_one_too_few_does_not():
    secret = bytes(range(32))
    shares = split(secret, 4, 6)
    assert combine(shares[2:], 4) == secret == combine([shares[5], *shares[:3]], 4)
    with pytest.raises(VerificationError, match="3 shares are there, and it takes 4"):
        combine(shares[:3], 4)
    with pytest.raises(VerificationError, match="takes 4"):
        combine([shares[0]] * 4, 4)
    assert combine(shares[:3], 3) != secret


@pytest.mark.parametrize("step", [*secure.STEPS, ""])
def test_without_messages_the_sum_is_that_of_the_protocol_to_the_last_bit(step):
    silent = dict.fromkeys((1, 4), step) if step else {}
    far = {**VECTORS, 3: np.full(SIZE, 1e3)}  # notices that it does not fit, and is not heard
    for vectors, gone in ((VECTORS, silent), (far, {})):
        whole = secure.summed(vectors, TERMS, gone)
        bare = secure.unmasked(vectors, TERMS, gone)
        assert (bare.heard, bare.error) == (whole.heard, whole.error)
        assert (bare.total == whole.total).all()


@pytest.mark.parametrize("step", secure.STEPS)
def test_without_messages_it_takes_as_many_sites_as_with_them(step):
    silent = dict.fromkeys((0, 1, 2), step)
    said = []
    for way in (secure.summed, secure.unmasked):
        with pytest.raises(VerificationError) as refused:
            way(VECTORS, TERMS, silent)
        said.append(refused.value.message)
    assert said[0] == said[1]
