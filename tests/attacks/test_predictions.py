"""Predictions on record: found, replayed, explained, judged by what really was, forgotten in time,
and never changed unseen.
"""

import datetime
import http.client
import json
import ssl

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa
from tests.attacks.test_gateway import Caller, new_token
from tests.conftest import serving

import casemate
from casemate.controls.audit.predictions import GROUPS
from casemate.core.errors import ConfigError, VerificationError
from casemate.ml.frame import rows_bytes
from casemate.serve.explain import explain
from casemate.serve.protocols.oip_grpc import message
from casemate.serve.watches import forget

pytestmark = pytest.mark.secured

INFER = "/v2/models/wdbc/infer"


def configured(root, keys, tables=""):
    """The project with more keys in its `[serve]` table, and tables below it."""
    path = root / "casemate.toml"
    path.write_text(path.read_text().replace("[serve]\n", "[serve]\n" + keys, 1) + "\n" + tables)
    return root


@pytest.fixture
def asked(own):
    """A project that keeps rows, after three requests: fine, flagged, refused; and a fourth of
    somebody else.
    """
    configured(own, 'inputs = "sealed"\n')
    project = casemate.open(own)
    frame = project.datasets["wdbc"].to_pandas().drop(columns=["patient_id", "malignant"])
    rows = frame[:3].to_numpy()
    token, other = new_token(project, "ward")[0], new_token(project, "other")[0]
    ids = {}
    with serving(own) as running:
        for name, value, who in (
            ("fine", rows, token),
            ("odd", rows * 50, token),
            ("refused", [[None] * 30], token),
            ("theirs", rows[:1], other),
        ):
            values = [list(row) for row in value]
            body = {
                "inputs": [
                    {"name": "x", "shape": [len(values), 30], "datatype": "FP64", "data": values}
                ]
            }
            traced = {"traceparent": "00-" + "ab" * 16 + "-" + "cd" * 8 + "-01"}
            status, answer, headers = Caller(running, who)("POST", INFER, body, **traced)
            ids[name] = (headers["x-request-id"], status, json.loads(answer))
        outcome = {"id": ids["fine"][0], "outcome": ["1", "1", "0"]}
        told = [
            Caller(running, who)("POST", "/v2/models/wdbc/feedback", outcome)[0]
            for who in (other, token, token)
        ]
    return own, project, ids, rows, told


def test_a_prediction_is_found_replayed_and_explained(asked, cli, monkeypatch):
    root, project, ids, rows, told = asked
    assert told == [400, 200, 200], "only the caller tells an outcome; the same again is one"
    found = explain(project, ids["fine"][0])
    said = found.prediction
    assert (said.principal, said.model, said.rows, said.part, said.trace) == (
        'Service::"ward"',
        "wdbc@1",
        3,
        "live",
        "ab" * 16,
    )
    assert (found.replayed, found.outcome) == (True, ["1", "1", "0"])
    assert [label for label, _ in found.answers] == ids["fine"][2]["outputs"][0]["data"]
    assert len(found.counted) == 10 and abs(found.counted[0].change) >= abs(
        found.counted[-1].change
    )
    assert rows_bytes(rows) in {content for _, content in project.decisions.contents()}, (
        "an erasure looks through kept rows too"
    )
    odd = explain(project, ids["odd"][0]).prediction
    assert odd.guards == {"outside": 3, "unusual": 3} and ids["odd"][2]["parameters"] == odd.guards
    refused = explain(project, ids["refused"][0])
    assert (refused.prediction.refused, refused.replayed, ids["refused"][1]) == (
        "CM-INPUT",
        None,
        422,
    )
    monkeypatch.chdir(root)
    answer = cli("explain", ids["fine"][0])
    assert answer.code == 0 and "bit for bit" in answer.out and "in fact 1, 1, 0" in answer.out
    assert cli("explain", ids["fine"][0], "--format", "json").value["replayed"] is True
    assert cli("explain", "000000000000-1").code == 2
    assert {one["request"] for one in cli("explain", "--format", "json").value} == {
        one[0] for one in ids.values()
    }
    assert cli("explain", ids["fine"][0], "--row", "3").code == 2


def test_rows_that_were_not_kept_can_be_given_again_and_others_are_not_taken_for_them(asked):
    _, project, ids, rows, _ = asked
    assert project.decisions.forget("1970", datetime.datetime.now(datetime.UTC).isoformat()) >= 1
    assert explain(project, ids["fine"][0]).replayed is None
    bodies = {
        "v2.json": json.dumps(
            {
                "inputs": [
                    {
                        "name": "x",
                        "shape": [3, 30],
                        "datatype": "FP64",
                        "data": rows.ravel().tolist(),
                    }
                ]
            }
        ),
        "mlflow.json": json.dumps({"inputs": rows.tolist()}),
        "batch.jsonl": "\n".join(map(json.dumps, rows.tolist())),
        "sagemaker.csv": "\n".join(",".join(map(repr, row)) for row in rows.tolist()),
    }
    for body in bodies.values():
        assert explain(project, ids["fine"][0], body=body.encode()).replayed is True
    told = {
        "inputs": [
            {
                "name": "x",
                "shape": [3, 30],
                "datatype": "FP64",
                "parameters": {"binary_data_size": rows.size * 8},
            }
        ]
    }
    assert (
        explain(
            project, ids["fine"][0], body=json.dumps(told).encode() + rows.astype("<f8").tobytes()
        ).replayed
        is True
    )
    call = message("ModelInferRequest")(
        model_name="wdbc", raw_input_contents=[rows.astype("<f8").tobytes()]
    )
    call.inputs.add(name="x", datatype="FP64", shape=[3, 30])
    assert explain(project, ids["fine"][0], body=call.SerializeToString()).replayed is True
    with pytest.raises(ConfigError, match="not the rows"):
        explain(
            project, ids["fine"][0], body=json.dumps({"inputs": (rows + 1e-9).tolist()}).encode()
        )


def test_records_end_with_their_time_and_the_log_still_verifies(asked):
    _, project, ids, *_ = asked

    class Later:
        def now(self):
            return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=self.days)

    clock = project.clock = Later()
    clock.days = 31
    assert forget(project) >= 1
    assert project.decisions.find(ids["fine"][0])[1] is None, "rows are kept for 30 days"
    clock.days = 401
    assert forget(project) >= 1
    with pytest.raises(ConfigError, match="is kept any more"):
        project.decisions.find(ids["fine"][0])
    assert project.decisions.check() == 4
    project.log.check()


def test_after_a_compromise_predictions_lie_under_a_new_key_and_say_the_same(
    asked, cli, monkeypatch
):
    root, project, ids, *_ = asked
    before = project.decisions.find(ids["fine"][0])
    monkeypatch.chdir(root)
    done = cli("keys", "rotate", "audit", "--compromised")
    assert done.code == 0, done.err
    again = casemate.open(root)
    assert again.decisions.find(ids["fine"][0]) == before
    assert again.decisions.check() == 4


@pytest.mark.parametrize("what", ["row", "early", "writer"])
def test_predictions_that_were_removed_or_moved_are_noticed(asked, what):
    _, project, *_ = asked
    with project.database.transaction() as tx:
        first = GROUPS.c.index == tx.execute(sa.select(sa.func.min(GROUPS.c.index))).scalar()
        if what == "row":
            tx.execute(GROUPS.delete().where(first))
        if what == "early":
            tx.execute(GROUPS.update().where(first).values(sealed=None))
        if what == "writer":
            tx.execute(GROUPS.update().where(first).values(writer="0" * 12))
    with pytest.raises(VerificationError):
        project.decisions.check()


@pytest.mark.parametrize("what", ["commitments", "sealed", "gone", "swapped"])
def test_a_changed_prediction_is_noticed(asked, what):
    _, project, ids, *_ = asked
    with project.database.transaction() as tx:
        rows = tx.execute(sa.select(GROUPS).order_by(GROUPS.c.index)).mappings().all()
        first = GROUPS.update().where(GROUPS.c.index == rows[0]["index"])
        if what == "commitments":
            tx.execute(first.values(commitments=bytes(len(rows[0]["commitments"]))))
        if what == "sealed":
            tx.execute(
                first.values(sealed=rows[0]["sealed"][:-1] + bytes([rows[0]["sealed"][-1] ^ 1]))
            )
        if what == "swapped":
            tx.execute(first.values(sealed=rows[-1]["sealed"], commitments=rows[-1]["commitments"]))
        if what == "gone":
            body = project.log.bodies.seal(
                tx, [(rows[0]["index"], bytes(16), msgspec.msgpack.encode([]))], b"predictions"
            )[0]
            tx.execute(first.values(sealed=body))
    with pytest.raises(VerificationError):
        project.decisions.check()
    with pytest.raises((VerificationError, ConfigError)):
        project.decisions.find(ids["fine"][0])
    assert casemate.open(project.root).root


def test_somebody_who_may_not_explain_learns_nothing(asked, cli, monkeypatch):
    root, _, ids, *_ = asked
    (root / "policies" / "x.cedar").write_text(
        '@id("mine") forbid (principal, action == Action::"model:explain", resource);'
    )
    monkeypatch.chdir(root)
    assert cli("access", "policy", "apply").code == 0
    assert cli("explain", ids["fine"][0]).code == 3


def test_batched_records_follow_and_are_there_when_the_gateway_has_ended(own):
    configured(own, 'audit = "batched"\n')
    project = casemate.open(own)
    token = new_token(project, "ward")[0]
    with serving(own) as running:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", running.port, context=ssl.create_default_context(cafile=str(running.ca))
        )
        ids, body = [], json.dumps({"inputs": [[1.0] * 30]})
        for _ in range(50):
            connection.request(
                "POST",
                "/invocations",
                body,
                {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
            )
            reply = connection.getresponse()
            reply.read()
            ids.append(reply.headers["x-request-id"])
    found = {prediction.id for prediction in project.decisions.newest(50)}
    assert found == set(ids)
    assert project.decisions.check() == 50
    assert np.frombuffer(project.decisions.find(ids[0])[0].probabilities, "<f4").shape == (2,)


def test_a_model_with_categories_is_served_by_either_protocol_and_explained_as_far_as_columns_may_be_seen(
    tiny_project, cli
):
    configured(tiny_project, 'inputs = "sealed"\n')
    toml = tiny_project / "casemate.toml"
    columns = (
        '[data.columns]\na = { class = "sensitive" }\nc = { class = "sensitive", mask = "first-1"'
        " }\n\n[data]\n"
    )
    toml.write_text(toml.read_text().replace("[data]\n", columns, 1))
    project = casemate.open(tiny_project)
    assert project.run().verdict.outcome == "passed"
    caller = Caller(None, new_token(project, "ward")[0])
    with serving(tiny_project) as running:
        caller.running = running
        named = {
            "a": ("FP64", [0.5, -2.0]),
            "b": ("FP64", [0.1, 0.0]),
            "c": ("BYTES", ["red", "blue"]),
        }
        body = {
            "inputs": [
                {"name": name, "shape": [2], "datatype": kind, "data": data}
                for name, (kind, data) in named.items()
            ]
        }
        status, answer, headers = caller(
            "POST", f"/v2/models/{project.config.project.name}/infer", body
        )
        assert status == 200, answer
        records = {
            "dataframe_records": [{"c": "red", "b": 0.1, "a": 0.5}, {"c": "blue", "b": 0, "a": -2}]
        }
        other = json.loads(
            caller("POST", "/invocations", records, Content_Type="application/json")[1]
        )
        assert other["predictions"] == json.loads(answer)["outputs"][0]["data"]
        records["dataframe_records"][1]["c"] = "mauve"
        status, refused, _ = caller("POST", "/invocations", records)
        assert (status, json.loads(refused)["code"]) == (
            422,
            "CM-INPUT",
        ) and b"mauve" not in refused
    found = explain(project, headers["x-request-id"], row=1)
    assert found.replayed is True
    assert {one.feature: one.value for one in found.counted} == {"a": -2.0, "b": 0.0, "c": "blue"}
    closed = (
        'forbid (principal, action == Action::"dataset:read", resource) when { context.column_class'
        ' == "sensitive" };'
    )
    (tiny_project / "policies" / "x.cedar").write_text(f'@id("closed") {closed}')
    project = casemate.open(tiny_project)
    found = explain(project, headers["x-request-id"], row=1)
    assert found.replayed is True and found.answers
    assert {one.feature: (one.value, one.shown) for one in found.counted} == {
        "a": (None, "withheld"), "b": (0.0, "plain"), "c": ("b", "masked")
    }  # fmt: skip
    assert found.withheld == ["a"]
    shown = cli("explain", headers["x-request-id"], "--row", "1", "--config", tiny_project)
    assert "withheld" in shown.out and "-2" not in shown.out.split() and "blue" not in shown.out


def test_whom_a_request_is_about_stands_in_its_record_by_pseudonym_and_never_in_clear(own):
    project = casemate.open(own)
    rows = project.datasets["wdbc"].to_pandas().drop(columns=["patient_id", "malignant"])[:2]
    values = rows.to_numpy().tolist()
    whole = {"name": "x", "shape": [2, 30], "datatype": "FP64", "data": values}
    each = [
        {"name": name, "shape": [2], "datatype": "FP64", "data": rows[name].tolist()}
        for name in rows
    ]
    whose = {"name": "patient_id", "shape": [2], "datatype": "BYTES", "data": ["Zoe-77001", "B2"]}
    token = new_token(project, "ward")[0]
    with serving(own) as running:
        ask = Caller(running, token)
        ids = [
            ask("POST", INFER, body)[2]["x-request-id"]
            for body in (
                {"inputs": [whole], "parameters": {"subject": "Zoe-77001"}},
                {"inputs": [*each, whose]},
                {"inputs": [whole]},
            )
        ]
    root = project.identifiers.root()
    zoe, other = (bytes.fromhex(root.pseudonym(one)) for one in ("Zoe-77001", "B2"))
    found = [project.decisions.find(one)[0].people for one in ids]
    assert found == [(zoe,), (zoe, other), ()]
    (told,) = project.privacy.affected("Zoe-77001").predictions
    assert (told.model, told.by, told.count) == ("wdbc@1", 'Service::"ward"', 2)
    assert told.purpose == project.config.project.purpose
    assert not any(b"Zoe-77001" in content for _, content in project.decisions.contents())
    assert b"Zoe-77001" not in (own / ".casemate" / "catalog.db").read_bytes()
    assert project.decisions.check() == 3
    assert [explain(project, one, body=None).prediction.rows for one in ids] == [2, 2, 2]
    project.privacy.erase("Zoe-77001", models="withdraw")
    with pytest.raises(ConfigError, match="an erasure takes them out|is kept any more"):
        explain(project, ids[0])
    assert project.decisions.check() == 3
