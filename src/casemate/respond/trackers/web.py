"""Asking a tracker over HTTPS: JSON both ways, bounded, and each answer sorted into done, later and
somebody must act.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from casemate.core.errors import BackendError, ConfigError, TransientError
from casemate.core.http import Answer, ask, is_private, retry_after
from casemate.core.text import clean

MAX_ANSWER = 4 * 1024 * 1024
"""Bytes: a page of a hundred issues of the largest size that trackers keep has fewer."""
MAX_PAGES = 50
"""Pages of one listing: five thousand things, more than a ticket has comments."""
PAGE = 100
"""Things of one page where there is a choice; a power of ten, so that smaller pages begin where the
larger one does.
"""
MAX_PAUSE = 3600.0
"""Seconds that a tracker can make us wait; longer than that, we ask again."""
_TOLD = 300
"""Characters of a tracker's own words that are quoted."""
T = TypeVar("T")


class NotDone(TransientError):
    """The tracker said that it did nothing, and may be asked later."""

    def __init__(self, message: str, *, hint: str = "", wait: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait
        """Seconds that it asked for."""


class OutOfTime(TransientError):
    """The time for a reading is over; nothing was asked."""


class TooLong(BackendError):
    """The answer has more than `MAX_ANSWER` bytes: less may be asked for at once."""


class Conflict(TransientError):
    """Somebody has changed the ticket since it was read."""


class Nothing(ConfigError):
    """There is no such thing, or the token may not see it."""


class Elsewhere(ConfigError):
    """It was moved, or the whole tracker was."""


class Web:
    """One tracker's address and how casemate says who it is.

    Args:
        name: of the tracker in the configuration.
        url: base of its REST interface.
        headers: of every request; asked for each time, as secrets are.
        timeout: seconds for a step of a connection.
        ca: PEM file of the only authority that is believed.
        seconds: after which no request is begun any more; default: never.
    """

    def __init__(
        self,
        name: str,
        url: str,
        headers: Callable[[], dict[str, str]],
        timeout: float,
        ca: Path | None,
        seconds: float | None = None,
    ) -> None:
        if not is_private(url):
            raise ConfigError(
                f"[trackers.{name}] url must use https", hint="http is allowed to this machine only"
            )
        self.name, self.base, self.host = name, url.rstrip("/"), urlsplit(url).hostname or ""
        self._headers, self._timeout, self._ca = headers, timeout, ca
        self._until = 0.0
        self._end = None if seconds is None else time.monotonic() + seconds

    def ask(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """The answer, if it is one of success.

        Raises:
            NotDone: it asks to wait. Conflict: 409 and 412. Nothing: 404 and 410. ConfigError: it
            refuses. TransientError: anything else, nobody answered, or not in time.
        """
        wait = self._until - time.monotonic()
        if wait > 0:
            raise NotDone(
                f"{self.host} asked for a pause; {wait:.0f} seconds of it are left",
                hint="the outbox tries again by itself",
                wait=wait,
            )
        if self._end is not None and time.monotonic() > self._end:
            raise OutOfTime(f"{self.host} was not read to the end in time", hint=_LATER)
        sent = {"accept": "application/json", "user-agent": "casemate", **self._headers()}
        sent |= headers or {}
        content = None
        if body is not None:
            content = msgspec.json.encode(body)
            sent["content-type"] = "application/json"
        url = f"{self.base}/{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")
        answer = ask(method, url, content, sent, self._timeout, MAX_ANSWER + 1, self._ca)
        if len(answer.body) > MAX_ANSWER:
            raise TooLong(
                f"{self.host} answered more than {MAX_ANSWER} bytes", hint="see what it serves"
            )
        if 200 <= answer.status < 300:
            return answer
        raise self._fault(answer)

    def json(
        self,
        kind: type[T],
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        query: dict[str, Any] | None = None,
    ) -> T:
        """The answer's JSON as `kind`; TransientError: it is none, as pages of a proxy are not."""
        return self.decoded(kind, self.ask(method, path, body, query))

    def decoded(self, kind: type[T], answer: Answer) -> T:
        """The JSON of an answer; see `json`."""
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TransientError(
                f"{self.host} answered something else than its interface describes"
                f" ({answer.headers.get('content-type', 'no type')!r})",
                hint="a page of a proxy or a login, a cut answer, or another service's address",
            ) from error

    def pages(self, kind: type[T], path: str, query: dict[str, Any]) -> Iterator[T]:
        """Pages of a listing by number, as GitLab and GitHub count them, while there is a next
        one; what is too long for one answer is asked for in smaller ones.

        Raises:
            BackendError: more than `MAX_PAGES`.
        """
        start, size = 0, PAGE
        while start < MAX_PAGES * PAGE:
            asked = {**query, "per_page": size, "page": start // size + 1}
            try:
                answer = self.ask("GET", path, query=asked)
            except TooLong:
                if size == 1:
                    raise
                size //= 10
                continue
            yield self.decoded(kind, answer)
            said = answer.headers.get("link", "")
            if not (answer.headers.get("x-next-page") or 'rel="next"' in said):
                return
            start += size
            while size < PAGE and start % (10 * size) == 0:
                size *= 10
        raise self.too_long(path)

    def too_long(self, path: str) -> BackendError:
        """What to raise where a listing does not end."""
        return BackendError(
            f"{self.host}: {path} has more than {MAX_PAGES} pages", hint="nobody reads so many"
        )

    def page_of(self, url: str) -> str:
        """The address of a page for people, as the tracker gave it.

        Raises:
            BackendError: it is none that may be shown.
        """
        if len(url) > 2000 or clean(url) != url or not is_private(url):
            raise BackendError(f"{self.host} gave a ticket an impossible address", hint=_OTHER)
        return url

    def _fault(self, answer: Answer) -> ConfigError | TransientError:
        status, where = answer.status, f"{self.host} answered {answer.status}"
        told = _told(answer.body)
        about = f"{where}: {told}" if told else where
        table = f"[trackers.{self.name}]"
        asked = answer.headers.get("retry-after", "")
        spent = answer.headers.get("x-ratelimit-remaining") == "0"
        if status == 429 or (status in (403, 503) and (asked or spent)):
            return self._paused(about, asked, answer.headers.get("x-ratelimit-reset", ""))
        if status in (409, 412):
            return Conflict(about, hint="the ticket is read again")
        if status in (404, 410):
            return Nothing(about, hint=f"check {table} url and project, and what its token may see")
        if status == 401:
            return ConfigError(
                f"{where}: the token is not accepted", hint=f"renew what {table} token refers to"
            )
        if status == 403:
            return ConfigError(about, hint=f"give the account of {table} token the rights it needs")
        if 300 <= status < 400:
            return Elsewhere(
                f"{where}: what was asked for is elsewhere", hint=f"put its address in {table} url"
            )
        # a page is of a proxy or of a server that failed; the words are Roundup's where it failed,
        # such as where its mail relay is away, and it answers them with 400
        failed = answer.body.lstrip()[:1] == b"<" or "An error occurred. Please check" in told
        if 400 <= status < 500 and status not in (408, 425) and not failed:
            return ConfigError(about, hint=f"`casemate tracker check {self.name}`")
        return TransientError(about, hint="see the tracker's own log")

    def _paused(self, about: str, asked: str, reset: str) -> NotDone:
        seconds = min(_seconds(asked, reset), MAX_PAUSE)
        self._until = time.monotonic() + seconds
        return NotDone(
            f"{about}; it asks to wait {seconds:.0f} seconds",
            hint="the outbox tries again",
            wait=seconds,
        )


_LATER = "the next look of the watcher goes on"
_OTHER = "see that the address is the tracker's own"


def other(host: str) -> BackendError:
    """What to raise where an answer is about another ticket than was asked for."""
    return BackendError(f"{host} answered about another ticket", hint=_OTHER)


def part(value: str) -> str:
    """One segment of a path."""
    return quote(value, safe="")


def _seconds(asked: str, reset: str) -> float:
    """How long to wait by `Retry-After` (seconds or a date) or a time of the rate limit's end."""
    seconds = retry_after(asked)
    if seconds is not None:
        return seconds
    if reset.isascii() and reset.isdigit():
        return max(0.0, float(reset[:12]) - time.time())
    return 60.0  # nothing was said: limits are per minute at the least


class _Said(msgspec.Struct):
    """Where trackers put what is wrong."""

    message: Any = None
    error: Any = None
    errorMessages: list[Any] = []  # noqa: N815 - JIRA's name
    errors: Any = None


def _told(body: bytes) -> str:
    """The tracker's own words, where they are JSON."""
    try:
        said = msgspec.json.decode(body, type=_Said)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    error = said.error.get("msg") if isinstance(said.error, dict) else said.error
    words = [said.message, error, *said.errorMessages[:3], said.errors]
    texts = [
        one if isinstance(one, str) else msgspec.json.encode(one).decode() for one in words if one
    ]
    return clean("; ".join(texts), _TOLD)
