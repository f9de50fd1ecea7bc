"""ZAP's plan: what its automation framework documents and nothing else, bounded, without secrets."""

import re

import pytest
import yaml

from casemate.core.errors import ConfigError
from casemate.supply.reports import zapplan
from casemate.supply.reports.zapplan import Bounds, rendered

TARGET = "https://gateway.example.org:8443"
KNOWN = {
    "passiveScan-config": (
        {"maxAlertsPerRule", "scanOnlyInScope", "maxBodySizeInBytesToScan", "enableTags",
         "disableAllRules"}, {"rules"},
    ),
    "requestor": ({"user"}, {"requests"}),
    "openapi": (
        {"apiFile", "apiUrl", "context", "user", "targetUrl", "maxMessages"}, {"tests"},
    ),
    "passiveScan-wait": ({"maxDuration"}, {"tests"}),
    "activeScan": (
        {"context", "user", "url", "policy", "maxRuleDurationInMins", "maxScanDurationInMins",
         "addQueryParam", "defaultPolicy", "delayInMs", "handleAntiCSRFTokens",
         "injectPluginIdInHeader", "scanHeadersAllRequests", "threadPerHost", "maxAlertsPerRule"},
        {"policyDefinition", "tests"},
    ),
    "report": (
        {"template", "reportDir", "reportFile", "reportTitle", "reportDescription",
         "displayReport"}, {"risks", "confidences", "sections"},
    ),
}  # fmt: skip
"""Names of the templates that ZAP writes itself (`zap.sh -cmd -autogenmax FILE`)."""


def plan(**more):
    bounds = Bounds(**more)
    return yaml.safe_load(rendered("casemate: ${HOME}", TARGET, "zap.json", "/zap/wrk", bounds))


def jobs(**more):
    return {one["type"]: one for one in plan(**more)["jobs"]}


def test_a_plan_says_nothing_that_zap_does_not_document():
    document = plan()
    assert set(document) == {"env", "jobs"}
    assert b"&id" not in rendered("t", TARGET, "zap.json", "/zap/wrk", Bounds())
    (context,) = document["env"]["contexts"]
    assert set(context) == {"name", "urls", "includePaths", "excludePaths"}
    for job in document["jobs"]:
        parameters, others = KNOWN[job["type"]]
        assert set(job.get("parameters", {})) <= parameters
        assert set(job) - {"type", "parameters"} <= others


def test_a_plan_is_bounded_and_leaves_nothing_out_of_its_report():
    attack = jobs(minutes=30, rate=50)["activeScan"]["parameters"]
    assert attack["maxScanDurationInMins"] == 30 and attack["maxRuleDurationInMins"] == 6
    assert (attack["threadPerHost"], attack["delayInMs"]) == (1, 20)
    assert attack["maxAlertsPerRule"] == 0, "an alert that is not listed would be gone"
    report = jobs()["report"]
    assert report["parameters"]["template"] == "traditional-json"
    assert set(report["risks"]) == {"high", "medium", "low", "info"}
    assert "falsepositive" in report["confidences"]


def test_a_plan_that_attacks_nothing_has_no_active_scan():
    assert "activeScan" in jobs() and "activeScan" not in jobs(active=False)


def test_a_plan_holds_no_secret_and_no_reference_to_one():
    text = rendered("casemate: ${HOME}", TARGET, "zap.json", "/zap/wrk", Bounds()).decode()
    assert "${" not in text and "Bearer" not in text and "replacer" not in text


def test_zap_does_not_end_the_login_by_which_it_looks():
    (context,) = plan()["env"]["contexts"]
    excluded = context["excludePaths"]
    for path in ("/access/session/end", "/access/session/renew"):
        assert any(re.fullmatch(one, TARGET + path) for one in excluded)
    assert not any(re.fullmatch(one, TARGET + "/v2/models/m/infer") for one in excluded)
    (included,) = context["includePaths"]
    assert re.fullmatch(included, TARGET + "/v2")
    assert not re.fullmatch(included, "https://gatewayXexample.org:8443/v2"), "dots are dots"


@pytest.mark.parametrize(
    "target",
    [
        "",
        "gateway.example.org",
        "ftp://gateway.example.org",
        "http://gateway.example.org",
        "https://me:secret@gateway.example.org",
        "https://gateway.example.org/v2?token=x",
        "https://${HOME}",
        "https://[:::::::::]",
        "https://gateway.example.org:99999",
        "https://gateway.example.org\n- x",
    ],
)
def test_what_is_no_address_or_in_the_clear_is_in_no_plan(target):
    with pytest.raises(ConfigError):
        rendered("t", target, "zap.json", "/zap/wrk", Bounds())


def test_names_that_zap_would_fill_in_are_in_no_plan():
    for names in (("${A}.json", "/zap"), ("zap.json", "/zap/${A}"), ("a\nb", "/zap")):
        with pytest.raises(ConfigError, match="cannot stand"):
            rendered("t", TARGET, *names, Bounds())


def test_a_client_certificate_is_named_without_its_password(tmp_path):
    said = zapplan.properties(zapplan.Path("/certs/app.p12")).decode()
    assert "certificate.pkcs12.path=/certs/app.p12" in said and "password" not in said
    with pytest.raises(ConfigError, match="cannot stand"):
        zapplan.properties(zapplan.Path("a\ncertificate.use=false"))
