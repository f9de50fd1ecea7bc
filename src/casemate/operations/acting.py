"""Who acts, and on what: an operation is declared once, asks policy through its declaration, and
records through what it was answered.

    @operation("keys:destroy", "Key")
    def destroy(project: Wiring, key: str, version: int) -> None:
        # AccessDenied, or somebody who may
        acting = destroy.ask(project, key, version=version)
        ...
        acting.record("keys:destroy", f'Key::"{key}"', version=version)

    @reading("keys:read", "Key")          # asked before the body; a denial is recorded
    def listing(project: Wiring) -> KeyList: ...

An operation that is put into a class with a `project` is its method:
`project.keystore.destroy("objects", 1)`.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

import sqlalchemy as sa

from casemate.wiring import Wiring

if TYPE_CHECKING:
    from casemate.controls.access.types import Principal

P = ParamSpec("P")
R = TypeVar("R")
OPERATIONS: dict[str, "Operation[..., Any]"] = {}
"""Every operation by `MODULE.FUNCTION`, such as `rotation.destroy`."""


class Holder(Protocol):
    """What an operation can be a method of."""

    @property
    def project(self) -> Wiring:
        """Whose operations they are."""


class Noun:
    """What can be asked about one kind of thing of a project; its verbs are operations."""

    def __init__(self, project: Wiring) -> None:
        self.project = project


@dataclass(frozen=True)
class Acting:
    """Somebody whom policy has let do one operation."""

    project: Wiring
    principal: "Principal"

    @property
    def uid(self) -> str:
        """Who acts as policies and the log write it, such as `User::"ana"`."""
        return self.principal.uid

    def append(
        self, tx: sa.Connection, action: str, about: str, outcome: str = "done", /, **detail: Any
    ) -> None:
        """Record what they did in the transaction that does it."""
        self.project.log.append(tx, self.uid, action, about, outcome, detail)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """Of the catalogue, for what they do and its entries, which are published once it ended."""
        with self.project.database.transaction() as tx:
            yield tx
        self.project.log.publish()

    def record(self, action: str, about: str, outcome: str = "done", /, **detail: Any) -> None:
        """Record what they did where it has no transaction of its own."""
        self.project.log.record(self.uid, action, about, outcome, **detail)


class Operation(Generic[P, R]):
    """A function that somebody may ask for, and the action that policy decides about."""

    def __init__(
        self,
        body: Callable[Concatenate[Any, P], R],
        action: str,
        kind: str,
        also: tuple[str, ...] = (),
        *,
        reads: bool = False,
    ) -> None:
        self.body, self.action, self.kind, self.also, self.reads = body, action, kind, also, reads
        where = body.__module__.removeprefix("casemate.").removeprefix("operations.")
        self.name = f"{where}.{body.__qualname__}"
        self.method = "." in body.__qualname__
        functools.update_wrapper(self, body)
        OPERATIONS[self.name] = self

    def __repr__(self) -> str:
        return f"<operation {self.name}: {self.action}>"

    def __call__(self, first: Any, *args: P.args, **kwargs: P.kwargs) -> R:
        """Do it; `first` is the project, or, of a method, whatever has one."""
        if self.reads:
            self.ask(
                first.project if self.method else first, "" if self.kind == "Project" else "all"
            )
        return self.body(first, *args, **kwargs)

    @overload
    def __get__(self, holder: None, owner: type) -> "Operation[P, R]": ...
    @overload
    def __get__(self, holder: Holder, owner: type) -> Callable[P, R]: ...
    def __get__(self, holder: Holder | None, owner: type) -> "Operation[P, R] | Callable[P, R]":
        if holder is None:
            return self

        @functools.wraps(self.body)
        def bound(*args: P.args, **kwargs: P.kwargs) -> R:
            return self(holder if self.method else holder.project, *args, **kwargs)

        return bound

    def ask(
        self,
        project: Wiring,
        name: str = "",
        *,
        also: str | None = None,
        kind: str | None = None,
        context: dict[str, Any] | None = None,
        unrecorded: bool = False,
        fresh: bool = False,
        **detail: Any,
    ) -> Acting:
        """Whoever acts, if policy lets them; a denial is recorded, and what was allowed too where
        the operation changes something.

        Args:
            project: where.
            name: of what it is about; "" for the project itself.
            also: another action that the declaration names, instead of its own.
            kind: of what the other action is about.
            context: what the decision depends on beside who, what and when.
            unrecorded: a first look; the same is asked again before anything is done.
            fresh: a second factor was proven just now, where there is no session to keep that.
            detail: goes into the log.

        Raises:
            AccessDenied: not permitted, with the deciding policy.
        """
        from casemate.controls.access.policy import Resource

        if also is not None and also not in self.also:
            raise TypeError(f"{self.name} does not declare {also}")
        resource = Resource(kind or ("Project" if also else self.kind), name)
        action = also or self.action
        if self.reads or unrecorded or fresh:
            return Acting(
                project,
                project.point.permitted(action, resource, fresh=fresh, **(context or {}))[
                    0
                ].principal,
            )
        return Acting(project, project.point.require(action, resource, context=context, **detail))


def operation(
    action: str, kind: str = "Project", *, also: tuple[str, ...] = ()
) -> Callable[[Callable[Concatenate[Any, P], R]], Operation[P, R]]:
    """Declare a function that does something; it asks first of all, by its own `ask`."""
    return lambda body: Operation(body, action, kind, also)


def reading(
    action: str, kind: str = "Project"
) -> Callable[[Callable[Concatenate[Any, P], R]], Operation[P, R]]:
    """Declare a function that only looks; it is asked for before it begins, and nothing but a
    denial is recorded.
    """
    return lambda body: Operation(body, action, kind, reads=True)
