"""A login at the key server that lives as long as the process: renewed at half of its life, fetched
anew when refused.

A token ends (https://openbao.org/docs/concepts/lease/), an idle gateway does not, and what it was
fetched with may be good for one use only, so a thread renews it in time. Where the server will not
renew it any more (its longest life is reached), or where the token was revoked, the secret is read
and used again.
"""

import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable

from casemate.core.errors import Error

FRESH = 1.0
"""Seconds in which a new token is not fetched again: what is refused with it is refused by
policy.
"""
AGAIN = 30.0
"""At most so many seconds between two tries while the server is away."""
WORN = 0.5
"""A renewal that gives less than this share of the first life comes near to the longest one."""


class Login:
    """One token, and when it ends."""

    def __init__(
        self,
        where: str,
        enter: Callable[[], tuple[float, bool]],
        renew: Callable[[], float],
        token: Callable[[], str],
    ) -> None:
        """Log in.

        Args:
            where: the server, for people.
            enter: reads the secret and uses it; returns (seconds of the token's life or 0 for no
                end, whether it can be renewed).
            renew: renews the token; returns the seconds of its life from now on.
            token: what is used just now.
        """
        self.where = where
        self.faults = 0
        """Tries to renew or to log in that failed."""
        self.failing = False
        """Whether the last one did."""
        self._enter, self._renew, self._token = enter, renew, token
        self._lock = threading.Lock()
        self._owner = 0
        self._begin()

    def _begin(self) -> None:
        life, self._renewable = self._enter()
        self._since, self._life, self._first = time.monotonic(), life, life

    def keep(self) -> None:
        """See that a thread of this process renews the token: a fork has none."""
        if self._owner == os.getpid() or not self._life:
            return
        with self._lock:
            if self._owner != os.getpid():
                self._owner = os.getpid()
                forgotten = threading.Event()
                weakref.finalize(self, forgotten.set)
                threading.Thread(
                    target=_keep,
                    args=(weakref.ref(self), forgotten),
                    name="casemate-login",
                    daemon=True,
                ).start()

    def due(self) -> float:
        """Seconds until the token should be renewed."""
        return self._since + self._life / 2 - time.monotonic() if self._life else FRESH

    def renew(self) -> bool:
        """Renew the token or log in again; tells the first fault of a row, and its end. Whether it
        worked.
        """
        with self._lock:
            try:
                if not self._renewed():
                    self._begin()
            except Error as error:
                self.faults += 1
                if not self.failing:
                    left = max(0.0, self._since + self._life - time.monotonic())
                    _tell(
                        f"the login at {self.where} was not renewed and ends in {left:.0f} s:"
                        f" {error.message}"
                    )
                self.failing = True
                return False
            if self.failing:
                _tell(f"the login at {self.where} holds again")
            self.failing = False
            return True

    def _renewed(self) -> bool:
        if not self._renewable or not self._life:
            return False
        try:
            life = self._renew()
        except Error:
            # revoked, or as old as it may become (OpenBao answers 500 then); if the server is away,
            # the login says so
            return False
        if life < WORN * self._first:
            return False
        self._since, self._life = time.monotonic(), life
        return True

    def anew(self, refused: str) -> bool:
        """After a refusal of the token `refused`: whether there is another one to try with, fetched
        once.
        """
        with self._lock:
            if self._token() != refused:
                return True
            if time.monotonic() - self._since < FRESH:
                return False
            _tell(f"{self.where} refused the token; logging in again")
            try:
                self._begin()
            except Error:
                self.faults += 1
                self.failing = True
                raise
            self.failing = False
            return True


def _tell(text: str) -> None:
    """A line for whoever watches the process: a run or gateway goes on, so there is no error to
    raise.
    """
    with contextlib.suppress(OSError, ValueError):  # nobody listens
        print(f"casemate: {text}", file=sys.stderr, flush=True)


def _keep(login: "weakref.ref[Login]", forgotten: threading.Event) -> None:
    while (kept := login()) is not None:
        due = kept.due()
        if due <= 0:
            due = kept.due() if kept.renew() else min(AGAIN, kept._life / 10)  # noqa: SLF001 - its own thread
        del kept  # a project that is forgotten takes its thread along
        forgotten.wait(min(max(due, 0.05), AGAIN))
