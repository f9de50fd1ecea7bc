"""Rows that learn of other rows: steps that are fitted before the split, and fits on the test side.

Statements of one scope are read from top to bottom, each branch as if it were taken; what other
functions do is not followed. Sources: Kapoor and Narayanan, Leakage and the reproducibility crisis
in machine-learning-based science, Patterns 4 (2023), sections L1.1 and L1.2; Yang et al., Data
leakage in notebooks, ASE 2022.
"""

import ast
import re
from collections.abc import Iterator

from casemate.supply.scanners.calls import Names, Scope, name_of, read

FITS = ("fit", "fit_transform", "fit_predict", "fit_resample", "partial_fit")
SPLITS = ("train_test_split",)
TEST = re.compile(r"(^|_)(test|holdout|hold_out)(_|$)", re.IGNORECASE)


def leaks(tree: ast.Module, names: Names) -> Iterator[tuple[str, int]]:
    """(rule, line) of what is found."""
    for node in ast.walk(tree):
        if isinstance(node, Scope):
            yield from _Scope(names).leaks(node)


class _Scope:
    """What is known of the names of one scope while it is read."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.fitted: dict[str, int] = {}
        """Names of rows that something has learnt from -> the line where."""
        self.tests: set[str] = set()
        """Names that hold rows of the test side."""

    def leaks(self, scope: Scope) -> Iterator[tuple[str, int]]:
        """Read a scope."""
        for statement in _statements(scope):
            for call in _calls(statement):
                yield from self._call(call)
            self._bind(statement)

    def _call(self, call: ast.Call) -> Iterator[tuple[str, int]]:
        method = name_of(call.func).rpartition(".")[2]
        if method in SPLITS:
            given = set().union(*(read(one) for one in call.args)) if call.args else set()
            for name in given & self.fitted.keys():
                yield "code.fit-before-split", self.fitted[name]
        elif method in FITS and isinstance(call.func, ast.Attribute):
            given = set().union(*(read(one) for one in [*call.args, *_rows(call)]))
            if given & self.tests:
                yield "code.trained-on-test", call.lineno
            for name in read(call.args[0]) if call.args else ():
                self.fitted.setdefault(name, call.lineno)

    def _bind(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Assign):
            value, targets = statement.value, statement.targets
        elif isinstance(statement, ast.AnnAssign | ast.AugAssign) and statement.value is not None:
            value, targets = statement.value, [statement.target]
        else:
            return
        used = read(value)
        line = min((self.fitted[name] for name in used & self.fitted.keys()), default=None)
        if line is None:
            line = next(
                (
                    call.lineno
                    for call in _calls(value)
                    if name_of(call.func).rpartition(".")[2] in ("fit_transform", "fit_resample")
                    and isinstance(call.func, ast.Attribute)
                ),
                None,
            )
        splits = any(name_of(one.func).rpartition(".")[2] in SPLITS for one in _calls(value))
        for target in targets:
            if splits and isinstance(target, ast.Tuple):
                self._sides(target)
                continue
            # one that is fitted is no rows: what it learnt from stays what it was
            rows = not (isinstance(value, ast.Call) and _is_fit(value))
            for name in _bound(target):
                self._one(name, line if rows else None, bool(used & self.tests) and rows)

    def _one(self, name: str, line: int | None, is_test: bool) -> None:
        self.fitted.pop(name, None)
        self.tests.discard(name)
        if line is not None:
            self.fitted[name] = line
        if is_test:
            self.tests.add(name)

    def _sides(self, target: ast.Tuple) -> None:
        """`X_train, X_test, y_train, y_test = train_test_split(X, y)`: each second one."""
        bound = [one.id if isinstance(one, ast.Name) else "" for one in target.elts]
        for place, name in enumerate(bound):
            if name:
                # a second split makes a validation side: only what is called so is for testing
                is_test = place % 2 == 1 and bool(TEST.search(name))
                self._one(name, None, is_test)


def _is_fit(call: ast.Call) -> bool:
    return name_of(call.func).rpartition(".")[2] in ("fit", "partial_fit")


def _rows(call: ast.Call) -> list[ast.expr]:
    return [one.value for one in call.keywords if one.arg in ("X", "y", "x")]


def _statements(scope: Scope) -> Iterator[ast.stmt]:
    """Statements of a scope in order, those of blocks too, but of no function in it."""
    pending: list[ast.stmt] = list(reversed(scope.body))
    while pending:
        statement = pending.pop()
        if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        yield statement
        blocks = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
        blocks += [one.body for one in getattr(statement, "handlers", [])]
        pending += reversed([one for block in blocks for one in block])


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """Calls of one statement itself, from the inside out; none of the blocks in it."""
    pending: list[ast.AST] = [node]
    found = []
    while pending:
        one = pending.pop()
        if isinstance(one, ast.Call):
            found.append(one)
        for child in ast.iter_child_nodes(one):
            if not isinstance(child, ast.stmt | ast.ExceptHandler | ast.Lambda):
                pending.append(child)
    yield from reversed(found)


def _bound(target: ast.expr) -> Iterator[str]:
    for one in ast.walk(target):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            yield one.id
