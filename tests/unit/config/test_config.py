import ast
import datetime
import re
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import inspect
from tests.conftest import TOML

from casemate import config
from casemate.core.errors import ConfigError


def refused(text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        config.parse(text, list(overrides))
    assert caught.value.hint
    return caught.value.message


def test_every_option_has_a_meaning():
    assert [row for row in config.describe(config.Config) if not row[4]] == []


def test_memory_without_an_end_is_no_bound_of_it():
    assert "memory_gb" in refused(TOML + "[run]\nmemory_gb = inf\n")


def numbers_in(kind, path="", meaning=""):
    """(option, its meaning, its type) of every number in a configuration."""
    if isinstance(kind, inspect.FloatType | inspect.IntType):
        yield path, meaning, kind
    if isinstance(kind, inspect.Metadata):
        meaning = (kind.extra_json_schema or {}).get("description", meaning)
    for field in getattr(kind, "fields", ()):
        yield from numbers_in(field.type, f"{path}.{field.name}".strip("."))
    inner = [getattr(kind, name, None) for name in ("type", "item_type", "value_type")]
    for one in (*inner, *getattr(kind, "types", ())):
        if one is not None:
            yield from numbers_in(one, path, meaning)


AS_LONG_OR_AS_LARGE = re.compile(
    r"\b(seconds|minutes|hours|days|bytes|megabytes|[mg]ib)\b|_(days|gb|mb)$", re.IGNORECASE
)
OTHERWISE = {"federate.rounds_a_day", "slo.most", "serve.limits.rows"}
"""Of rows, and of what nothing waits for: the words are about something else in their meaning."""


def test_whatever_is_so_long_or_so_large_has_an_end():
    """Else it overflows where it is used: in a limit of a process, a timer or a date."""
    found = {
        path
        for path, meaning, kind in numbers_in(inspect.type_info(config.Config))
        if AS_LONG_OR_AS_LARGE.search(f"{meaning} {path}") and kind.le is None and kind.lt is None
    }
    assert found == OTHERWISE


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ("train", "memory_gb"),
        ("train", "timeout"),
        ("assess", "timeout"),
        ("run", "timeouts.data"),
        ("serve", "deadline"),
        ("serve", "max_body_mb"),
    ],
)
@pytest.mark.parametrize("value", ["inf", "nan", "-1.0", "1e300"])
def test_no_number_overflows_where_it_is_used(table, name, value):
    assert name.partition(".")[0] in refused(TOML, f"{table}.{name}={value}")


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
@pytest.mark.parametrize(
    "option",
    ["gates.roc_auc.min", "assess.eps", "data.columns.age.max", "robustness.smoothing"],
)
def test_a_number_of_the_configuration_is_finite(option, value):
    given = f"[{value}]" if option == "assess.eps" else value
    told = refused(TOML, f"{option}={given}")
    assert "finite" in told
    assert option.rpartition(".")[2] in told


def test_an_unknown_table_names_the_nearest():
    assert "did you mean 'train'" in refused(TOML + "[trian]\nfolds = 3\n")


def test_an_unknown_key_names_the_nearest():
    assert "did you mean 'folds'" in refused(TOML, "train.flods=3")


def test_an_unknown_column_option_names_the_nearest():
    assert "did you mean 'class'" in refused(TOML + '[data.columns]\na = { clas = "identifier" }\n')


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (
            '[screen]\nexclude = ["triger"]',
            "[screen] `exclude[0]`: unknown 'triger'; did you mean 'trigger'?",
        ),
        ('[screen]\nexclude = ["nonsense"]', "duplicate, flood"),
        ('[screen]\nquarantine = "exlude"', "did you mean 'exclude'?"),
        ('[release]\nseparate = ["stewart"]', "did you mean 'steward'?"),
        (
            '[notices.duty]\nkind = "folder"\nto = "out"\non = ["run:passed", "run:pased"]',
            "`$[...].on[1]`: unknown 'run:pased'; did you mean 'run:passed'?",
        ),
        ('[data.columns]\na = { class = "idntifier" }', "did you mean 'identifier'?"),
        ("[run.timeouts]\nasess = 3", "did you mean 'assess'?"),
        (
            '[[assess.behaviour]]\nname = "b"\nfeature = "a"\nadd = 1\nexpect = "dwn"',
            "did you mean 'down'?",
        ),
    ],
)
def test_an_unknown_word_where_only_fixed_ones_mean_something_names_the_nearest(more, expected):
    """`exclude = ["nonsense"]` left nothing out and said nothing."""
    assert expected in refused(TOML + more + "\n")


def test_detectors_that_can_be_excluded_are_those_that_there_are():
    from casemate.stages.data.screening import DETECTORS

    assert set(get_args(config.DetectorId)) == {detector.id for detector in DETECTORS.values()}


def test_events_that_can_be_heard_are_those_that_are_told():
    """Every text in the code that looks like an event and goes to the outbox, found by its
    shape.
    """
    told, calls = set(), ("enqueue", "_alert", "_aside")
    texts = [path.read_text() for path in Path(config.__file__).parents[1].rglob("*.py")]
    for text in texts:
        for node in ast.walk(ast.parse(text)) if any(call in text for call in calls) else ():
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in calls:
                told |= {
                    one.value
                    for one in ast.walk(node)
                    if isinstance(one, ast.Constant)
                    and re.fullmatch("[a-z]+:[a-z-]+", str(one.value))
                }
    assert told | {"run:passed", "run:refused", "run:failed", "*"} == set(get_args(config.Event))


def test_no_list_of_words_is_free_where_only_fixed_ones_mean_something():
    """A list of plain texts in the file is of the user's own names: columns, files, categories,
    networks, claims.
    """
    own = {
        "target", "header", "null_values", "files", "classes", "slices", "to", "copies", "keys",
        "names", "scopes", "account", "require", "roles", "factor", "networks", "rows", "hold",
        "categories", "missing", "source", "ordinal", "transformers", "labels", "principals",
        "texts", "holidays", "gateways", "joint", "people", "recipients", "transfers",
        "runner", "secrets", "approvers", "auditors", "deployers", "security_groups", "subnets",
        "trusted", "exclude", "advisories_keys", "accepted", "licences",
        "sells", "coordinators", "purposes", "code",
    }  # fmt: skip
    free = {
        row[1].rpartition(".")[2] for row in config.describe(config.Config) if "list[str]" in row[2]
    }
    assert free - own == set()


@pytest.mark.parametrize(
    ("gate", "expected"),
    [
        ("accurracy = { min = 0.5 }", "did you mean 'accuracy'"),
        ("accuracy = { }", "give min, max or no_worse_than"),
        ("accuracy = { min = 0.9, max = 0.1 }", "nothing can pass"),
        ("accuracy = { min = 1.5 }", "impossible"),
        ("roc_auc = { max = -0.5 }", "impossible"),
        ("robust_accuracy = { min = 0.5 }", "give eps"),
        (
            "accuracy = { min = 0.5, eps = 0.1 }",
            "eps belongs to certified_accuracy and robust_accuracy only",
        ),
    ],
)
def test_an_impossible_gate_is_refused(gate, expected):
    assert expected in refused(TOML.replace("accuracy = { min = 0.5 }", gate))


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ("[]", "empty"),
        ("3", "list of values"),
        ("{ low = 2, high = 1 }", "low below high"),
        ("{ low = 0, high = 1, log = true }", "above 0"),
        ("{ lo = 1 }", "unknown key"),
    ],
)
def test_an_impossible_search_space_is_refused(space, expected):
    assert expected in refused(TOML.replace("[gates]", f"search = {{ C = {space} }}\n[gates]"))


def test_all_faulty_tables_are_named_at_once():
    message = refused(TOML, "train.folds=1", "serve.port=99999")
    assert "[train]" in message
    assert "[serve]" in message


def test_overrides_change_one_value(config):
    assert config("train.folds=4", "data.columns.a.min=2").train.folds == 4
    assert config("data.columns.a.min=2").data.columns["a"].min == 2


@pytest.mark.parametrize(
    "override",
    [
        "access.local=true",
        "release.approvals=0",
        "data.columns.a.mask=first-9",
        'data.columns.a={mask = "first-9"}',
        'data.columns={a = {class = "general"}}',
        "data.columns.a.class=general",
        "data.subject=other",
        "data.schema=another.toml",
        "serve.trusted=['mine']",
        "federate.masked=false",
    ],
)
def test_who_may_do_or_see_what_is_not_overridden_from_the_command_line(override):
    assert "in casemate.toml only" in refused(TOML, override)


@pytest.mark.parametrize(
    "override",
    ["folds=3", "train.folds", "train.folds.deep=3", "train.folds=3\n[access]\nlocal = true"],
)
def test_a_malformed_override_is_refused(override):
    refused(TOML, override)


def test_a_missing_table_is_named():
    assert "[train]: this table is missing" in refused(
        '[project]\nname = "x"\nid = "x"\n[data]\nsource = "s"\ntarget = "t"\n'
    )


def test_a_missing_file_says_how_to_begin(tmp_path):
    with pytest.raises(ConfigError, match=r"no casemate\.toml"):
        config.load(tmp_path / "casemate.toml")


@given(st.text(max_size=300))
def test_any_text_is_a_configuration_or_a_configuration_error(text):
    try:
        config.parse(text)
    except ConfigError:
        pass


@given(
    st.dictionaries(
        st.text(max_size=8),
        st.recursive(st.integers() | st.text(max_size=5), lambda s: st.lists(s, max_size=2)),
        max_size=3,
    )
)
def test_any_search_space_is_accepted_or_explained(space):
    import json

    lines = [f"{json.dumps(name)} = {json.dumps(value)}" for name, value in space.items()]
    try:
        config.parse(TOML.replace("[gates]", "[train.search]\n" + "\n".join(lines) + "\n[gates]"))
    except ConfigError as error:
        assert error.message


@pytest.mark.parametrize("source", ['"t.csv"', '["a.csv", "b.csv"]', '"s3://ward/t.parquet"'])
def test_a_query_that_nobody_would_answer_is_not_passed_over(source):
    query = 'query = "SELECT * FROM visits WHERE adult"\n'
    given = ["data.source=" + source]
    config.parse(TOML, given)
    text = TOML.replace("[data]\n", "[data]\n" + query, 1)
    with pytest.raises(ConfigError, match="query is asked of a database server"):
        config.parse(text, given)
    config.parse(text, ['data.source="postgresql://ward@localhost/visits"'])


def test_an_imported_model_is_not_trained():
    assert "an imported model is not trained here" in refused(
        TOML.replace("[gates]", 'model = "imported/x.skops"\nmode = "private"\n[gates]')
    )


def test_what_keeps_a_new_project_from_private_training_is_said_line_by_line():
    toml = (
        '[project]\nname = "p"\nid = "p-1"\n[data]\nsource = "t.csv"\ntarget ='
        ' "y"\n[privacy]\nepsilon = 2.0\n[train]\nentry = "train.py:build"\nmode ='
        ' "private"\nsearch = { "clf__C" = [1.0] }\n[gates]\nmembership_auc = { max = 0.65 }\n'
    )
    with pytest.raises(ConfigError) as refused:
        config.parse(toml)
    said = str(refused.value)
    assert (
        "[gates] membership_auc" in said
        and "delete that line, and write `epsilon = { max = 2 }` in its place" in said
    )
    assert "delete the line that begins with `search =`" in said
    mended = toml.replace('search = { "clf__C" = [1.0] }\n', "").replace(
        "membership_auc = { max = 0.65 }", "epsilon = { max = 2 }"
    )
    assert config.parse(mended).gates["epsilon"].max == 2


def test_no_pattern_lets_a_last_line_break_through():
    source = Path(config.__file__).parents[1]
    patterns = [
        pattern
        for file in source.rglob("*.py")
        for pattern in re.findall(r"""pattern=\s*r?["'](.+?)["']""", file.read_text())
    ]
    assert len(patterns) > 20
    # `$` alone also matches before a line break that ends the text
    assert [one for one in patterns if one.endswith("$")] == []


def test_hours_of_the_night_end_the_next_morning():
    from casemate.config import FederateTable

    night, day = FederateTable(hours="22:00-06:00"), FederateTable(hours="08:00-17:30")
    at = lambda hour, minute: datetime.datetime(  # noqa: E731
        2026, 1, 1, hour, minute, tzinfo=datetime.UTC
    )
    open_at = [(22, 0), (23, 59), (0, 0), (5, 59)]
    assert all(night.is_open(at(*one)) for one in open_at)
    assert not any(night.is_open(at(*one)) for one in [(6, 0), (12, 0), (21, 59)])
    assert [day.is_open(at(*one)) for one in [(7, 59), (8, 0), (17, 29), (17, 30)]] == [
        False,
        True,
        True,
        False,
    ]
    berlin = datetime.timezone(datetime.timedelta(hours=1))
    assert night.is_open(datetime.datetime(2026, 1, 1, 23, 0, tzinfo=berlin))
    assert not night.is_open(datetime.datetime(2026, 1, 1, 22, 30, tzinfo=berlin))
    assert FederateTable().is_open(at(12, 0))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('hours = "22:00-22:00"', "ends when it begins"),
        ('hours = "24:00-06:00"', "hours"),
        ('coordinators = ["AB"]', "coordinators"),
        ('models = ["LogisticRegresion"]', "did you mean 'LogisticRegression'"),
        ("least_sites = 1", "least_sites"),
        ("epsilon_round = 0", "epsilon_round"),
    ],
)
def test_a_site_policy_that_makes_no_sense_is_refused(line, expected):
    assert expected in refused(TOML + f"[federate]\n{line}\n")
