"""Gateways on several hosts: one view of limits, releases and revocations; a host, the network or
the database may end at any time, and no answer that was given is without its one record.

At full length: `python bench/scale/gateways.py`.
"""

import contextlib
import datetime
import http.client
import json
import subprocess

import pytest
from tests.attacks.test_gateway import new_token
from tests.conftest import wait_for
from tests.faults.hosts import PORT, Database, Line, Load, Network, Place, ip, recorded, several

import casemate
from casemate.controls.access.identity.tokens import TokenLimits
from casemate.controls.access.usage import USE


@pytest.fixture(scope="module")
def two(finished, tmp_path_factory):
    """The project, as whoever manages it sees it; two hosts with a gateway each; the database."""
    folder = tmp_path_factory.mktemp("several")
    with several(finished, folder, 2) as (places, database):
        project = casemate.open(folder / "desk")
        assert project.run(start="release").model.reference == "wdbc@2"
        project.models["wdbc@1"].promote()
        starts = [place.serving() for place in places]
        with contextlib.ExitStack() as running:
            gateways = [running.enter_context(start) for start in starts]
            yield project, list(zip(places, starts, strict=True)), gateways, database
        project.close()


def test_what_cannot_be_set_up_leaves_no_host_and_no_database_behind(tmp_path, monkeypatch):
    with contextlib.closing(Network()) as network:
        first, taken = network.host(), f"{network.bridge}v1"
        ip("link", "add", taken, "type", "bridge")
        with pytest.raises(AssertionError, match="exists"):
            network.host()
        ip("link", "delete", taken)
        begun = []
        monkeypatch.setattr(
            "tests.faults.hosts.wait_for", lambda check: begun.append(check.__self__) or 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            Database(first, tmp_path)
        assert begun[0].process.poll() is not None
        assert not begun[0].data.exists()
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True)
    assert network.bridge not in spaces.stdout


def answers_of(project, service):
    """How many are on record."""
    every = (json.loads(body) for group in project.decisions.groups(-1) for body in group.bodies)
    return sum(one["principal"] == f'Service::"{service}"' for one in every)


def asked(line):
    """(status, version) of an answer."""
    status, content, _ = line()
    return status, json.loads(content).get("model_version")


def test_a_host_needs_its_configuration_and_key_store_and_no_disk_of_the_others(two):
    project, hosts, gateways, _ = two
    token, _ = new_token(project, "ward")
    for (place, _), gateway in zip(hosts, gateways, strict=True):
        status, _, headers = Line(gateway, token)()
        assert status == 200
        assert project.decisions.find(headers["x-request-id"])[0].model == "wdbc@1"
        assert not (place.root / ".casemate/objects").exists()
        assert not (place.root / ".casemate/catalog.db").exists()


def test_what_is_spent_on_one_host_is_gone_on_the_other(two):
    project, _, gateways, _ = two
    hour = datetime.timedelta(hours=1)
    token, identifier = project.access.create_token(
        "slow", ["client"], ["*"], hour, TokenLimits(rate=10)
    )
    one, other = (Line(gateway, token) for gateway in gateways)
    wait_for(lambda: asked(one)[0] == 429)
    # all of it: what is asked on a busy machine is written down in several turns
    wait_for(
        lambda: sum(one.requests for one in project.usage.of(identifier, "", 60, 0).values()) >= 10
    )
    wait_for(lambda: asked(other)[0] == 429)
    assert answers_of(project, "slow") < 15, "both together got no two limits"


def test_releases_and_revocations_are_seen_by_every_host(two):
    project, _, gateways, _ = two
    token, identifier = new_token(project, "ward")
    lines = [Line(gateway, token) for gateway in gateways]
    assert [asked(line) for line in lines] == [(200, "1")] * 2
    project.models["wdbc@2"].promote("canary", share=0.0, principals=['Service::"ward"'])
    wait_for(lambda: [asked(line) for line in lines] == [(200, "2")] * 2)
    project.models.rollback("wdbc")
    wait_for(lambda: [asked(line) for line in lines] == [(200, "1")] * 2)
    project.access.revoke_token(identifier)
    wait_for(lambda: [asked(line)[0] for line in lines] == [401, 401])


def test_a_model_that_is_held_and_the_shares_of_a_rollout_are_the_same_on_every_host(two):
    project, _, gateways, _ = two
    token, _ = new_token(project, "ward")
    lines = [Line(gateway, token) for gateway in gateways]
    project.models["wdbc@2"].promote("canary", share=0.5)
    wait_for(lambda: ["2" in {asked(line)[1] for _ in range(2)} for line in lines] == [True] * 2)
    for line in lines:
        assert sorted(asked(line)[1] for _ in range(8)) == ["1"] * 4 + ["2"] * 4
    project.models["wdbc@2"].promote("shadow")
    wait_for(lambda: [{asked(line)[1] for _ in range(2)} for line in lines] == [{"1"}] * 2)
    project.holds.place("answers", "wdbc", "an incident")
    wait_for(lambda: [asked(line)[0] for line in lines] == [503] * 2)
    assert [b"CM-WITHDRAWN" in line()[1] for line in lines] == [True] * 2
    project.holds.lift("answers", "wdbc", "it was none")
    wait_for(lambda: [asked(line) for line in lines] == [(200, "1")] * 2)
    project.models.rollback("wdbc")


def test_a_client_certificate_that_is_revoked_elsewhere_opens_nothing_and_ends_what_is_open(
    two, tmp_path
):
    project, hosts, _, _ = two
    token, _ = new_token(project, "ward")
    shown = {name: tmp_path / name for name in ("ward-7", "ward-8")}
    serials = {
        name: project.keys.issue("client", [name], 30, "p256", folder)
        for name, folder in shown.items()
    }
    place = Place(hosts[1][0].host, project.root, tmp_path / "more", hosts[1][0].variables)
    require = ("-s", 'serve.client_certificates="require"')
    with place.serving(*require, port=PORT + 1) as gateway:
        lost, kept = (Line(gateway, token, shown=folder) for folder in shown.values())
        assert asked(lost)[0] == asked(kept)[0] == 200
        project.keys.revoke(serials["ward-7"])

        def is_ended():
            try:
                return asked(lost)[0] != 200
            except (OSError, http.client.HTTPException):
                return True

        wait_for(is_ended)
        with pytest.raises((OSError, http.client.HTTPException)):
            asked(Line(gateway, token, shown=shown["ward-7"]))
        assert asked(kept)[0] == 200


def test_a_host_with_an_old_copy_of_the_key_store_says_so_and_answers_on(two):
    project, hosts, gateways, _ = two
    token, _ = new_token(project, "ward")
    lines = [Line(gateway, token) for gateway in gateways]
    newest = project.keys.rotate([]).keys["audit"]
    behind = f"keys: CM-BACKEND: this copy of the key store is behind the catalogue: 'audit' is at version {newest}, and here {newest - 1} is the last"
    try:
        for _, start in hosts:
            wait_for(lambda start=start: behind in start.told())
        assert [asked(line)[0] for line in lines] == [200] * 2
    finally:
        for place, _ in hosts:
            place.copy_keys()
    for _, start in hosts:
        wait_for(lambda start=start: "keys is well again" in start.told().rpartition(behind)[2])
    assert [asked(line)[0] for line in lines] == [200] * 2


def whole(project, *loads):
    """Every answer has one record, and no record is there twice; how many have no answer."""
    records = recorded(project)
    given = {identifier for load in loads for _, identifier in load.acknowledged}
    assert set(records.values()) == {1}
    assert given <= set(records), "an answer was given whose record is lost"
    project.log.check()
    return len(records) - len(given)


def test_a_host_that_dies_under_load_takes_no_answer_with_it_and_joins_again(two):
    project, hosts, gateways, _ = two
    token, _ = new_token(project, "ward")
    with Load(gateways[0], token) as dying, Load(gateways[1], token) as living:
        dying.more()
        gateways[0].process.kill()
        gateways[0].process.wait()
        living.more()
    assert not living.others, "the other host's callers notice nothing"
    hosts[0][1].__exit__()
    gateways[0] = hosts[0][1].__enter__()
    with Load(gateways[0], token, 1) as joined:
        joined.more(5)
    whole(project, dying, living, joined)


def test_a_database_that_crashes_under_load_costs_refusals_and_no_record(two):
    project, _, gateways, database = two
    token, _ = new_token(project, "nurse")
    with Load(gateways[0], token) as one, Load(gateways[1], token) as other:
        for load in (one, other):
            load.more()
        database.crash()
        wait_for(lambda: one.others["503"] and other.others["503"])
        database.start()
        for load in (one, other):
            load.more()
    assert {*one.others, *other.others} == {"503"}
    whole(project, one, other)
    with project.database.reading() as tx:
        mine = USE.c.principal == 'Service::"nurse"', USE.c.model != ""
        used = sum(row.rows for row in tx.execute(USE.select().where(*mine)))
    asked_about = len(one.acknowledged + other.acknowledged) + (one.others + other.others)["503"]
    assert used <= asked_about, "nothing was counted twice"


@pytest.mark.long
def test_a_host_that_is_cut_off_keeps_nobody_waiting_and_joins_again(two):
    project, hosts, gateways, _ = two
    token, _ = new_token(project, "cut")
    host = hosts[1][0].host
    with Load(gateways[1], token, 2, 5.0) as away, Load(gateways[0], token) as living:
        away.more()
        host.cut()
        wait_for(lambda: away.others)
        living.more(200)
        host.joined()
        away.more()
    assert not living.others, "the other host's callers notice nothing but a pause"
    whole(project, away, living)
