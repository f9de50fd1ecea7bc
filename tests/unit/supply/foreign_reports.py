"""Reports as ZAP's and SonarQube's own templates and documentation have them."""

import datetime
import json

NOW = datetime.datetime.now(datetime.UTC)
SCRIPT = "<script>alert(1)</script>"


def zap(*alerts, site="https://gateway.example.org:8443", created=NOW, **more):
    """ZAP's traditional JSON report, 2.16."""
    return {
        "@programName": "ZAP",
        "@version": "2.16.1",
        "@generated": "Mon, 30 Nov 2026 08:00:00",
        "created": created.isoformat().replace("+00:00", "Z"),
        "site": [
            {
                "@name": site,
                "@host": "gateway.example.org",
                "@port": "8443",
                "@ssl": "true",
                "alerts": list(alerts),
            }
        ],
    } | more


def alert(plugin="40012", risk="3", uri="/v2?token=s3cret&amp;x=1", **more):
    """One alert of it, its texts escaped for HTML as the template does."""
    instance = {
        "id": "7",
        "uri": f"https://gateway.example.org:8443{uri}",
        "nodeName": "https://gateway.example.org:8443/v2 (x)",
        "method": "GET",
        "param": "x",
        "attack": SCRIPT.replace("<", "&lt;"),
        "evidence": "Authorization: Bearer s3cret",
        "otherinfo": "",
    }
    return {
        "pluginid": plugin,
        "alertRef": plugin,
        "alert": "Cross Site Scripting",
        "name": "Cross Site Scripting &lt;script&gt;",
        "riskcode": risk,
        "confidence": "2",
        "riskdesc": "High (Medium)",
        "desc": "<p>Scripts run.</p>",
        "instances": [instance],
        "count": "1",
        "systemic": False,
        "solution": "<p>Encode.</p><p>Say so.</p>",
        "otherinfo": "",
        "reference": "<p>https://owasp.org</p>",
        "cweid": "79",
        "wascid": "8",
        "sourceid": "1",
    } | more


def zap_xml(body="", before=""):
    """ZAP's traditional XML report of one alert."""
    return f"""<?xml version="1.0"?>{before}
<OWASPZAPReport programName="ZAP" version="2.16.1" generated="Mon, 30 Nov 2026 08:00:00"
 created="{NOW.isoformat().replace("+00:00", "Z")}">
 <site name="https://gateway.example.org:8443" host="gateway.example.org" port="8443" ssl="true">
  <alerts><alertitem>
   <pluginid>40012</pluginid><alertRef>40012</alertRef>
   <alert>Cross Site Scripting</alert><name>Cross Site Scripting &lt;script&gt;</name>
   <riskcode>3</riskcode><confidence>2</confidence><riskdesc>High (Medium)</riskdesc>
   <desc>&lt;p&gt;Scripts run.&lt;/p&gt;</desc>
   <instances><instance>
    <uri>https://gateway.example.org:8443/v2?token=s3cret&amp;x=1</uri>
    <nodeName>n</nodeName><method>GET</method><param>x</param>
    <attack>&lt;script&gt;</attack><evidence>Bearer s3cret</evidence><otherinfo></otherinfo>
   </instance></instances>
   <count>1</count><systemic>false</systemic>
   <solution>&lt;p&gt;Encode.&lt;/p&gt;&lt;p&gt;Say so.&lt;/p&gt;</solution>
   <otherinfo></otherinfo><reference></reference><cweid>79</cweid><wascid>8</wascid>
   <sourceid>1</sourceid>{body}
  </alertitem></alerts>
 </site>
</OWASPZAPReport>""".encode()


def generic_old(**more):
    """Generic issues as SonarQube took them before 10.3; the documentation's own example."""
    where = {"message": "fully-fleshed issue", "filePath": "a.py", "textRange": {"startLine": 2}}
    issue = {"engineId": "test", "ruleId": "rule1-CWE-95", "severity": "BLOCKER"}
    issue |= {"type": "VULNERABILITY", "primaryLocation": where, "effortMinutes": 90}
    smell = {"engineId": "test", "ruleId": "rule2", "severity": "INFO", "type": "CODE_SMELL"}
    smell |= {"primaryLocation": {"message": "minimal issue", "filePath": "b.py"}}
    return {"issues": [issue | more, smell]}


def generic_new(severity="HIGH", quality="SECURITY"):
    """Generic issues from 10.3 on."""
    rule = {"id": "rule1-CWE-95", "name": "a rule", "description": "<p>Do so.</p>"}
    rule |= {"engineId": "test", "cleanCodeAttribute": "TRUSTWORTHY"}
    rule |= {"impacts": [{"softwareQuality": quality, "severity": severity}]}
    where = {"message": "fully-fleshed issue", "filePath": "a.py", "textRange": {"startLine": 2}}
    return {"rules": [rule], "issues": [{"ruleId": "rule1-CWE-95", "primaryLocation": where}]}


def issues(*found, total=None, project="clinic", page=1):
    """What `api/issues/search` answers."""
    listed = [
        {
            "key": f"k{number}",
            "rule": "python:S4790",
            "severity": "CRITICAL",
            "component": f"{project}:src/a.py",
            "project": project,
            "line": 2,
            "hash": "a" * 32,
            "textRange": {"startLine": 2, "endLine": 2, "startOffset": 0, "endOffset": 4},
            "flows": [],
            "status": "OPEN",
            "message": f"Make sure {SCRIPT}",
            "tags": ["cwe", "cwe-328"],
            "creationDate": "2026-11-01T10:00:00+0000",
            "type": "VULNERABILITY",
            "impacts": [{"softwareQuality": "SECURITY", "severity": "HIGH"}],
        }
        | one
        for number, one in enumerate(found, 500 * (page - 1))
    ]
    paging = {"pageIndex": page, "pageSize": 500, "total": len(listed) if total is None else total}
    components = [{"key": f"{project}:src/a.py", "qualifier": "FIL", "path": "src/a.py"}]
    return {"paging": paging, "issues": listed, "components": components, "facets": []}


def gate(status="ERROR", **more):
    """What `api/qualitygates/project_status` answers."""
    condition = {
        "status": status,
        "metricKey": "new_security_rating",
        "comparator": "GT",
        "periodIndex": 1,
        "errorThreshold": "1",
        "actualValue": "3",
    }
    found = {"status": status, "conditions": [condition], "periods": []}
    return {"projectStatus": found | {"ignoredConditions": False, "caycStatus": "compliant"} | more}


def sarif(*results, name="semgrep", rules=(), **more):
    """One run in SARIF 2.1.0."""
    driver = {"name": name, "semanticVersion": "1.2.3", "rules": list(rules)}
    run = {"tool": {"driver": driver}, "results": list(results)} | more
    return {"version": "2.1.0", "runs": [run]}


def result(rule="r1", line=2, text="text is run", uri="a.py", **more):
    """One result of it."""
    where = {"artifactLocation": {"uri": uri}, "region": {"startLine": line}}
    return {
        "ruleId": rule,
        "message": {"text": text},
        "locations": [{"physicalLocation": where}],
        # what semgrep writes without an account: the same text for all
        "fingerprints": {"matchBasedId/v1": "requires login"},
    } | more


def encoded(report):
    """As a file has it."""
    return report if isinstance(report, bytes) else json.dumps(report).encode()
