"""Rules across the columns of a row, written as expressions: `discharged >= admitted`, `dose <= 5 *
weight`.

Python's own parser reads the text; of its syntax only what is listed here means something,
everything else is refused with its place. Arrow computes the answer column-wise. A row with a
missing value in a compared column is neither right nor wrong (Kleene logic): it is counted apart,
and `is not None` asks for presence.
"""

import ast
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from casemate.config import RuleTable
from casemate.core.errors import ConfigError
from casemate.core.types import RuleChecked
from casemate.stages.data.checks.interface import Answer
from casemate.stages.data.odd import Rows

MOST_NODES = 200
"""Of a rule's syntax tree. Chosen: what is longer can hardly be checked by looking at it; it can be
split into several.
"""
COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
}
DAY = 86_400_000_000
"""Microseconds."""


def _days(value: Any) -> Any:
    return pc.divide(pc.cast(pc.cast(value, pa.duration("us")), pa.int64()), pa.scalar(float(DAY)))


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": pc.abs,
    "days": _days,
    "year": pc.year,
    "length": pc.utf8_length,
    "lower": pc.utf8_lower,
}
"""Of one column or expression: `days` of a difference of times, `year` of a time, `length` and
`lower` of a text.
"""


class Asked:
    """Rules that are asked of a table, a piece at a time."""

    def __init__(self, rules: list[RuleTable]) -> None:
        self.rules = rules
        self.before = 0
        """Rows of the pieces up to now."""
        self._rows = [0] * len(rules)
        self._unknown = [0] * len(rules)
        self._broken = [Rows() for _ in rules]

    def add(self, table: pa.Table) -> None:
        """Ask of the next piece.

        Raises:
            ConfigError: a rule cannot be read or compares what cannot be compared.
        """
        for at, rule in enumerate(self.rules):
            holds = evaluate(table, rule.check, rule.name)
            asked = (
                pa.array(np.ones(table.num_rows, dtype=bool))
                if rule.when is None
                else pc.fill_null(evaluate(table, rule.when, rule.name), False)
            )
            broken = pc.fill_null(pc.and_(asked, pc.invert(holds)), False)
            rows = np.flatnonzero(broken.to_numpy(zero_copy_only=False))
            self._broken[at].add(rows, self.before)
            self._unknown[at] += int(pc.sum(pc.and_(asked, pc.is_null(holds))).as_py() or 0)
            self._rows[at] += int(pc.sum(asked).as_py() or 0)
        self.before += table.num_rows

    def answer(self) -> tuple[Answer, list[RuleChecked]]:
        """(findings and, if there are rules, `rule_violations`; what became of each rule)."""
        answer, told = Answer(), []
        broken_rules = 0
        counted = zip(self.rules, self._rows, self._broken, self._unknown, strict=True)
        for rule, rows, broken, unknown in counted:
            told.append(
                RuleChecked(
                    name=rule.name,
                    check=rule.check,
                    rows=rows,
                    broken=broken.count,
                    unknown=unknown,
                    severity=rule.severity,
                )
            )
            if broken.count > rule.tolerate * rows:
                broken_rules += 1
                share = broken.count / max(rows, 1)
                answer.say(
                    "data.rule",
                    rule.severity,
                    f"{broken.count} of {rows} rows ({share:.2%}) break the rule {rule.name!r}",
                    str(broken),
                )
        if self.rules:
            answer.figures["rule_violations"] = float(broken_rules)
        return answer, told


def evaluate(table: pa.Table, text: str, name: str) -> pa.Array:
    """The expression's value in every row: a boolean array with nulls where it cannot be told."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"[[data.rules]] {name}: {text!r} is no expression: {error}",
            hint="for example: discharged >= admitted",
        ) from error
    if sum(1 for _ in ast.walk(tree)) > MOST_NODES:
        raise ConfigError(
            f"[[data.rules]] {name}: the expression is too long", hint="split it into several rules"
        )
    try:
        found = _value(tree.body, table, name)
    except (pa.ArrowException, TypeError) as error:
        why = str(error).splitlines()[0][:200]
        raise ConfigError(
            f"[[data.rules]] {name}: {text!r} cannot be computed: {why}",
            hint=(
                "compare numbers with numbers, texts with texts; [data.columns] says what type a"
                " column has"
            ),
        ) from error
    if isinstance(found, pa.ChunkedArray):
        found = found.combine_chunks()
    if not isinstance(found, pa.Array) or not pa.types.is_boolean(found.type):
        raise ConfigError(
            f"[[data.rules]] {name}: {text!r} is neither true nor false",
            hint="for example: discharged >= admitted",
        )
    return found


def _value(node: ast.expr, table: pa.Table, name: str) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str | bool):
        return pa.scalar(float(node.value) if type(node.value) is int else node.value)
    if isinstance(node, ast.Name):
        return _column(table, node.id, name)
    if isinstance(node, ast.BoolOp):
        join = pc.and_kleene if isinstance(node.op, ast.And) else pc.or_kleene
        values = [_value(part, table, name) for part in node.values]
        found = values[0]
        for value in values[1:]:
            found = join(found, value)
        return found
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        inner = _value(node.operand, table, name)
        return pc.invert(inner) if isinstance(node.op, ast.Not) else pc.negate(inner)
    if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        return getattr(pc, ARITHMETIC[type(node.op)])(
            _value(node.left, table, name), _value(node.right, table, name)
        )
    if isinstance(node, ast.Compare):
        return _compare(node, table, name)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call(node.func.id, node.args, table, name)
    raise ConfigError(
        f"[[data.rules]] {name}: {ast.unparse(node)!r} means nothing here",
        hint="columns, numbers, texts, + - * /, comparisons, and, or, not, in [...], is None, "
        + ", ".join(f"{f}()" for f in FUNCTIONS),
    )


def _compare(node: ast.Compare, table: pa.Table, name: str) -> Any:
    found, left = None, node.left
    for operator, right in zip(node.ops, node.comparators, strict=True):
        one = _single(left, operator, right, table, name)
        found = one if found is None else pc.and_kleene(found, one)
        left = right
    return found


def _single(
    left: ast.expr, operator: ast.cmpop, right: ast.expr, table: pa.Table, name: str
) -> Any:
    value = _value(left, table, name)
    if (
        isinstance(operator, ast.Is | ast.IsNot)
        and isinstance(right, ast.Constant)
        and right.value is None
    ):
        return pc.is_null(value) if isinstance(operator, ast.Is) else pc.is_valid(value)
    if isinstance(operator, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple):
        values = [
            _value(item, table, name).as_py()
            for item in right.elts
            if isinstance(item, ast.Constant)
        ]
        if len(values) != len(right.elts):
            raise ConfigError(
                f"[[data.rules]] {name}: a list holds numbers or texts only",
                hint="for example: ward in ['A', 'B']",
            )
        found = pc.if_else(
            pc.is_valid(value),
            pc.is_in(value, pa.array(values, value.type)),
            pa.scalar(None, pa.bool_()),
        )
        return pc.invert(found) if isinstance(operator, ast.NotIn) else found
    if type(operator) not in COMPARE:
        raise ConfigError(
            f"[[data.rules]] {name}: this comparison means nothing here",
            hint="== != < <= > >= in, not in, is None",
        )
    other = _value(right, table, name)
    for one, two in ((value, other), (other, value)):
        if pa.types.is_timestamp(one.type) and isinstance(two, pa.Scalar):
            time = pc.cast(two, one.type)
            value, other = (value, time) if two is other else (time, other)
    return getattr(pc, COMPARE[type(operator)])(value, other)


def _call(function: str, arguments: list[ast.expr], table: pa.Table, name: str) -> Any:
    if function == "column" and len(arguments) == 1 and isinstance(arguments[0], ast.Constant):
        return _column(table, str(arguments[0].value), name)
    if function in FUNCTIONS and len(arguments) == 1:
        return FUNCTIONS[function](_value(arguments[0], table, name))
    raise ConfigError(
        f"[[data.rules]] {name}: there is no function {function!r} of {len(arguments)} values",
        hint="functions: column, " + ", ".join(FUNCTIONS),
    )


def _column(table: pa.Table, column: str, name: str) -> Any:
    if column not in table.column_names:
        raise ConfigError(
            f"[[data.rules]] {name}: there is no column {column!r}",
            hint=f"columns: {', '.join(table.column_names[:12])}",
        )
    return table[column]
