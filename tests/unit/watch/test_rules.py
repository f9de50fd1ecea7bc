"""Sigma rules over lines: what is read, what is refused, and what SQL made of a rule can do."""

import pytest
from tests.unit.watch.rule_lines import correlation, denied, line, rule, time

from casemate.core.errors import ConfigError
from casemate.core.store.sqlite import driver
from casemate.operations.watching import alarms
from casemate.watch.rules import STARTER, Rules, judging, reading, table, translating
from casemate.watch.rules.meaning import REFUSED, TRANSLATED
from casemate.watch.rules.table import Table, Unanswered


def rules(tmp_path, *texts, **options) -> Rules:
    folder = tmp_path / "rules"
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        (folder / f"{number}.yml").write_text(text)
    return Rules(folder, **({"starter": False} | options))


def matches(tmp_path, text, *lines) -> list[int]:
    """Places of the lines that a rule matches."""
    made = rules(tmp_path, text)
    assert made.faults == []
    ids = [one.id for one in lines]
    assert len(set(ids)) == len(ids)
    return sorted(ids.index(one) for match in made.judge(lines) for one in match.lines)


def refusals(tmp_path, *texts) -> str:
    made = rules(tmp_path, *texts)
    return "\n".join(f"{one.file}: {one.rule}: {one.reason}" for one in made.faults)


@pytest.mark.parametrize(
    ("selection", "condition", "expected"),
    [
        ("{event.action: 'run:start'}", "selection", [0]),
        ("{event.action: 'RUN:START'}", "selection", [0]),
        ("{event.action|cased: 'RUN:START'}", "selection", []),
        ("{event.action|cased: 'run:*'}", "selection", [0, 1]),
        ("{event.action|startswith: 'run:'}", "selection", [0, 1]),
        ("{event.action|endswith: ':end'}", "selection", [1]),
        ("{event.action: 'run:*'}", "selection", [0, 1]),
        ("{event.action|contains: 'n:e'}", "selection", [1]),
        ("{event.action|contains: '_'}", "selection", []),
        ("{message|contains|all: [an, b]}", "selection", [2]),
        ("{event.action|re: '^run:(start|end)$'}", "selection", [0, 1]),
        ("{event.action|re: '^RUN'}", "selection", []),
        ("{event.action|re|i: '^RUN'}", "selection", [0, 1]),
        ("{http.response.status_code: 500}", "selection", [2]),
        ("{http.response.status_code: '500'}", "selection", [2]),
        ("{http.response.status_code|gte: 400}", "selection", [2]),
        ("{http.response.status_code|lt: 400}", "selection", []),
        ("{http.response.status_code|exists: true}", "selection", [2]),
        ("{http.response.status_code|exists: false}", "selection", [0, 1]),
        ("{event.action: null}", "selection", [2]),
        ("{event.action|neq: 'run:start'}", "selection", [1, 2]),
        ("{event.action: 'run:start'}", "not selection", [1, 2]),
        ("{http.response.status_code: 500}", "not selection", [0, 1]),
        ("{'@timestamp|hour': 12}", "selection", [0, 1]),
        ("{'@timestamp|hour|gte': 22}", "selection", [2]),
        ("{user.name|fieldref: labels.resource}", "selection", [1]),
        ("{message|base64offset|contains: bad}", "selection", [2]),
        ("{event.action: ['run:start', 'run:end']}", "selection", [0, 1]),
        ("[{event.action: 'run:start'}, {http.response.status_code: 500}]", "selection", [0, 2]),
        ("{event.action: 'run:*'}\n  other: {user.name: ana}", "selection and not other", [0]),
        ("{event.action: 'run:*'}\n  other: {user.name: ana}", "all of them", [1]),
        ("{event.action: 'run:end'}\n  sel2: {labels.model: 'x'}", "1 of sel*", [1]),
        ("{event.action: 'run:start'}", "[selection, not selection]", [0, 1, 2]),
    ],
)
def test_what_a_rule_says_is_what_it_matches(tmp_path, selection, condition, expected):
    lines = (
        line(0, action="run:start", user="bob"),
        line(1, action="run:end", user="ana", resource="ana"),
        line(36_000, message="an b YmFk", status=500),
    )
    assert matches(tmp_path, rule(selection, condition), *lines) == expected


def test_a_line_with_a_nul_hides_nothing(tmp_path):
    text = rule("{user.name|contains: evil}")
    assert matches(tmp_path, text, line(0, user="a\0evil"), line(1, user="a")) == [0]


def test_a_line_that_is_no_unicode_is_judged_with_the_others(tmp_path):
    text = rule("{event.action: 'run:start'}")
    lines = line(0, user="\ud800", action="run:start"), line(1, action="run:start")
    assert matches(tmp_path, text, *lines) == [0, 1]


@pytest.mark.parametrize("service", ["audit", "request"])
def test_a_log_source_with_a_service_is_about_its_lines_only(tmp_path, service):
    text = rule("{user.name: ana}", service=service)
    lines = [line(0, user="ana", dataset=f"casemate.{one}") for one in ("audit", "request")]
    lines = [lines[0], line(1, user="ana", dataset="casemate.request")]
    assert matches(tmp_path, text, *lines) == [0 if service == "audit" else 1]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (rule("{event.acton: x}"), "no field 'event.acton': event.action is meant?"),
        (rule("{event.action|wide: x}"), "event.action|wide is refused: lines are UTF-8"),
        (rule("{event.action|cidr: 10.0.0.0/8}"), "cidr is refused: no field holds an address"),
        (rule("{event.action|expand: '%x%'}"), "expand is refused"),
        (rule("{'@timestamp|week': 3}"), "week is refused"),
        (rule("{event.action|sounds: x}"), "Unknown modifier 'sounds'"),
        (rule("{event.action|hour: 3}"), "event.action is no time"),
        (rule("{event.action|gt: 3}"), "event.action is no number"),
        (rule("{event.action: []}"), "event.action has an empty list"),
        (rule("[denied, refused]"), "words without a field"),
        (rule("{user.name: JÜRGEN}"), "does not ignore the case"),
        (rule("{event.outcome: denied}"), "event.outcome is one of success, failure, unknown"),
        (rule("{event.action|re: 'a(?=b)'}"), "invalid perl operator"),
        (rule("{event.action|re: '(x{1000}){1000}'}"), "repetition"),
        (rule("{event.action|re: '" + "a" * 1001 + "'}"), "longer than 1000 characters"),
        (rule("{event.action: '" + "a" * 1001 + "'}"), "longer than 1000 characters"),
        (rule("{event.action: [" + ", ".join("a" * 501) + "]}"), "more than 500 values"),
        (rule("{event.action: x}\n  other: {user.name: y}"), "no condition uses other"),
        (rule("{event.action: x}\n  timeframe: 5m"), "timeframe has no effect"),
        (rule("{event.action: x}", "selection | count() > 5"), "pipe syntax"),
        (rule("{event.action: x}", "not " * 60 + "selection"), "nested too deeply"),
        (rule("{event.action: x}", "selection and nothing"), "'nothing' not defined"),
        (rule("{user.name|fieldref: user.nam}"), "no field 'user.nam'"),
        (rule("{event.action: x}", level=""), "no level"),
        (rule("{event.action: x}", level="hgh"), "not a valid Sigma rule level"),
        (rule("{event.action: x, event.action: y}"), "Duplicate key 'event.action'"),
        (rule("{event.action: 2026-01-01}"), "Unsupported type"),
        (rule("{event.action: x}").replace("casemate", "windows"), "product is not casemate"),
        (rule("{event.action: x}", service="alarm"), "service is one of audit, request"),
        (rule("{event.action: x}").replace("id: ", "name: "), "it has no id"),
        (rule("{event.action: x}") + "action: global\n", "documents with 'action'"),
        (rule("{event.action: !!python/object:os.system x}"), "it is no YAML that is read"),
        (rule("{event.action: &a [*a]}"), "aliases"),
        ("- a\n- b\n", "a rule is a mapping of names"),
        ("title: [", "it is no YAML that is read"),
        ("a: " + "[" * 60_000, "levels are not read"),
        ("title: " + "x" * reading.MOST_BYTES, "larger than 64 KiB"),
        ("title: nothing else\n", "detection"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_file_and_the_reason(tmp_path, text, reason):
    said = refusals(tmp_path, text)
    assert said.startswith("0.yml: ")
    assert reason in said


BASE = rule("{event.reason: denied}", title="base", more="name: base\n")
OTHER = rule("{event.reason: done}", title="other", more="name: other\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (correlation("value_sum", ["base"], "{gte: 5, field: event.duration}"), "not counted"),
        (correlation("event_count", ["base"], "{lt: 5}"), "lines that are missing"),
        (correlation("event_count", ["base"], "{gte: 0}"), "a whole number from 1"),
        (correlation("event_count", ["base"], "{gte: 5000}"), "a whole number from 1"),
        (correlation("event_count", ["base"], "{gte: 5}", span="25h"), "longer than 24 hours"),
        (correlation("event_count", ["base"], "{gte: 5}", group="usr"), "no field 'usr'"),
        (correlation("event_count", ["base"], "{gte: 5, field: x}"), "counts no field"),
        (correlation("value_count", ["base"], "{gte: 5}"), "without field reference"),
        (correlation("value_count", ["base"], "{gte: 5, field: [a, b]}"), "needs one field"),
        (correlation("value_count", ["base"], "{gte: 5, field: usr}"), "no field 'usr'"),
        (correlation("event_count", ["bse"], "{gte: 5}"), "'bse', which is no rule"),
        (correlation("temporal", ["base", "other"], "base and not other"), "is an expression"),
        (correlation("temporal", ["base", "other"], "{gte: 3}"), "beyond the 2 rules"),
        (correlation("temporal_ordered", ["base", "other"], "{gte: 1}"), "all of its rules"),
        (
            correlation("event_count", ["base"], "{gte: 5}", also="  aliases: {x: {base: a}}\n"),
            "aliases have nothing to do",
        ),
    ],
)
def test_a_correlation_that_is_not_counted_is_refused_by_name(tmp_path, text, reason):
    said = refusals(tmp_path, BASE, OTHER, text)
    assert "2.yml: a correlation: " in said
    assert reason in said


def test_a_correlation_of_correlations_is_refused(tmp_path):
    inner = correlation("event_count", ["base"], "{gte: 5}", also="name: inner\n")
    outer = correlation("event_count", ["inner"], "{gte: 5}", title="outer")
    assert "'inner', which is no rule about single lines" in refusals(tmp_path, BASE, inner, outer)


def test_all_faults_are_told_at_once_and_the_others_run(tmp_path):
    made = rules(
        tmp_path,
        rule("{event.acton: x, usr: y}", title="broken"),
        "title: [",
        rule("{event.action: x}", title="sound"),
    )
    assert [(one.file, one.rule) for one in made.faults] == [
        ("1.yml", ""),
        ("0.yml", "broken"),
        ("0.yml", "broken"),
    ]
    assert [one.rule.title for one in made.judge([line(action="x")])] == ["sound"]


def test_a_rule_with_the_title_or_the_id_of_another_is_refused(tmp_path):
    one = rule("{event.action: x}")
    assert "0.yml has a rule with its id" in refusals(tmp_path, one, one)
    other = one.replace("id: ", "id: 6ba7b812-9dad-11d1-80b4-00c04fd430c8\nrelated: []\nx: ")
    assert "another rule has its title" in refusals(tmp_path, one, other)


def test_a_rule_of_the_projects_own_replaces_one_that_ships_and_may_switch_it_off(tmp_path):
    shipped = (STARTER / "emergency.yml").read_text()
    entered = line(action="access:break-glass", reason="done")
    assert len(rules(tmp_path, starter=True).judge([entered])) == 1
    made = rules(tmp_path, shipped.replace("level: high", "level: low"), starter=True)
    assert made.faults == []
    assert [one.rule.level for one in made.judge([entered])] == ["low"]
    off = rules(tmp_path, shipped.replace("status: stable", "status: deprecated"), starter=True)
    assert off.faults == []
    assert off.judge([entered]) == []


def test_rules_that_only_count_are_not_told_unless_the_correlation_says_so(tmp_path):
    counting = correlation("event_count", ["base"], "{gte: 1}")
    quiet = rules(tmp_path, BASE, counting)
    assert [one.rule.title for one in quiet.judge([denied(0)])] == ["a correlation"]
    loud = rules(tmp_path, BASE, counting.replace("  type:", "  generate: true\n  type:"))
    assert [one.rule.title for one in loud.judge([denied(0)])] == ["base", "a correlation"]


def test_too_many_rules_or_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(translating, "MOST_RULES", 1)
    two = [rule("{event.action: x}", title=title) for title in "ab"]
    assert refusals(tmp_path, *two) == "1.yml: b: there are more than 1 rules"
    monkeypatch.setattr(reading, "MOST_FILES", 1)
    with pytest.raises(ConfigError, match="has 2 files of rules, the limit is 1"):
        rules(tmp_path)


def test_a_folder_that_is_not_there_is_said(tmp_path):
    with pytest.raises(ConfigError, match="there are no rules at"):
        Rules(tmp_path / "none")


def test_lines_about_alarms_are_never_judged(tmp_path):
    made = rules(tmp_path, rule("{message|contains: a}"))
    about = (
        line(message="alarm", dataset="casemate.alarm"),
        line(message="alarm", action="watch:well"),
    )
    assert made.judge(about) == []
    assert {alarms.ALARM, alarms.WELL} == judging.OWN


def test_a_rule_has_one_match_however_many_lines_and_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "BATCH", 7)
    made = rules(tmp_path, rule("{event.reason: denied}"))
    (match,) = made.judge([denied(one) for one in range(150)])
    assert (match.count, match.first, match.last) == (150, time(0), time(149))
    assert match.lines == tuple(denied(one).id for one in range(50, 150))


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT rootpage AS row FROM sqlite_schema",
        "SELECT 1 AS row FROM pragma_table_list",
        "SELECT row, load_extension('x') FROM lines",
        "SELECT row, randomblob(1000000000) FROM lines",
        "SELECT row FROM lines); DELETE FROM lines; --",
        "SELECT row FROM lines) ; ATTACH 'x.db' AS x; --",
        "WITH RECURSIVE n(row) AS (VALUES(1) UNION ALL SELECT row + 1 FROM n) SELECT row FROM n",
    ],
)
def test_sql_that_a_rule_might_become_reads_the_table_and_nothing_else(statement):
    lines = Table()
    lines.fill([line()])
    with lines.asking(), pytest.raises(Unanswered):
        lines.rows(statement)
    with lines.asking():
        assert lines.rows("SELECT * FROM lines") == [0]


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM lines", "ATTACH ':memory:' AS x", "PRAGMA query_only=OFF", "CREATE TABLE x (y)"],
)
def test_nothing_is_written_while_rules_are_asked(statement):
    lines = Table()
    with lines.asking(), pytest.raises(driver.DatabaseError, match=r"not authorized|readonly"):
        lines._connection.execute(statement)


def test_query_only_holds_by_itself():
    lines = Table()
    with lines.asking():
        lines._connection.set_authorizer(None)
        with pytest.raises(driver.OperationalError, match="readonly"):
            lines._connection.execute("DELETE FROM lines")


@pytest.mark.parametrize("bound", ["MOST_STEPS", "MOST_SECONDS"])
def test_a_rule_that_takes_too_long_is_a_fault_of_its_own(tmp_path, monkeypatch, bound):
    made = rules(
        tmp_path,
        rule("{message|contains: [" + ", ".join(f"x{one}" for one in range(400)) + "]}"),
        rule("{event.reason: denied}", title="other"),
    )
    lines = [denied(one) for one in range(200)]
    monkeypatch.setattr(table, bound, 0 if bound == "MOST_STEPS" else -1.0)
    monkeypatch.setattr(table, "STEPS", 10_000)
    found = [one.rule.title for one in made.judge(lines)]
    slow = [(one.rule, one.reason) for one in made.faults]
    assert ("a rule", "it takes too long") in slow
    assert found == ["other"]
    monkeypatch.undo()
    made.judge(lines)
    assert made.faults == []


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*$", "(.*a){20}$"])
def test_a_regular_expression_that_would_hang_python_does_not(tmp_path, pattern):
    text = rule(f"{{user.name|re: '^{pattern}'}}")
    assert matches(tmp_path, text, line(0, user="a" * 3_999 + "!"), line(1, user="a" * 30)) == [1]


def test_every_modifier_of_pysigma_is_either_translated_or_refused_with_a_reason():
    from sigma.modifiers import modifier_mapping

    assert set(modifier_mapping) == TRANSLATED | set(REFUSED)
    assert not TRANSLATED & set(REFUSED)
