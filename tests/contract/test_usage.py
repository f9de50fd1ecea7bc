"""What the gateway writes down, on SQLite and on PostgreSQL; and two gateways on one catalogue."""

import datetime
import time

from tests.attacks.test_gateway import Caller, new_token
from tests.attacks.test_releases import BODY, INFER
from tests.conftest import serving

import casemate
from casemate.controls.access.identity.tokens import TokenLimits
from casemate.controls.access.usage import Usage, Used

MINUTE = ("svc", "", 60, 100)


def test_what_is_used_adds_up_by_window(store):
    one, other = Usage(store), Usage(store)
    assert one.of(*MINUTE[:3], 0) == {}
    one.add([(MINUTE, Used(2, 5, 1)), (("svc", "m", 60, 100), Used(9, 9, 9))], 1)
    totals = other.add([(MINUTE, Used(1, 1, 1)), (("svc", "", 60, 101), Used(4, 4, 0))], 1)
    assert totals[MINUTE] == {100: Used(3, 6, 2)}
    assert totals["svc", "", 60, 101] == {100: Used(3, 6, 2), 101: Used(4, 4, 0)}
    assert one.of(*MINUTE[:3], 101) == {101: Used(4, 4, 0)}
    one.add([(("svc", "", 60, 1000), Used(1, 1, 1))], 1)
    assert one.of(*MINUTE[:3], 0) == {1000: Used(1, 1, 1)}, "what is too old to count is forgotten"


def test_two_gateways_on_one_postgresql_share_limits_releases_revocations_and_the_log(
    own, empty_database
):
    project = casemate.open(own)
    project.store.move(empty_database, None)
    project = casemate.open(own)
    assert project.run(start="release").model.reference == "wdbc@2"
    project.models["wdbc@1"].promote()
    token, identifier = new_token(project, "ward")
    slow, _ = project.access.create_token(
        "slow", ["client"], ["*"], datetime.timedelta(hours=1), TokenLimits(rate=20)
    )
    with serving(own) as one, serving(own) as other:
        both = [Caller(running, token) for running in (one, other)]
        assert [caller("POST", INFER, BODY)[0] for caller in both] == [200, 200]
        statuses = []
        for number in range(40):
            statuses.append(Caller((one, other)[number % 2], slow)("POST", INFER, BODY)[0])
            time.sleep(0.05)
        assert 20 <= statuses.count(200) <= 34, "one limit, but for what each does in half a second"
        project.models["wdbc@2"].promote()
        time.sleep(1.5)
        assert all(b'"model_version":"2"' in caller("POST", INFER, BODY)[1] for caller in both)
        project.access.revoke_token(identifier)
        time.sleep(1.0)
        assert [caller("POST", INFER, BODY)[0] for caller in both] == [401, 401]
    assert project.decisions.check() == 4 + statuses.count(200)
    project.log.check()
