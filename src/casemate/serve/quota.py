"""What callers may use: requests a minute, requests at once, rows over days; and whether their rows
look like probing.

Workers and gateways on one catalogue write down what they served twice a second and read what the
others did, so a limit holds for all of them together but for that half second, and no restart
forgives anything. The rate is a sliding window: the share of the last minute that still counts, and
this minute.

Probing is how models are copied or turned inside out: rows unlike the training data, and rows that
differ from the one before in a single feature (Juuti et al., PRADA: Protecting Against DNN Model
Stealing Attacks, EuroS&P 2019).
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from casemate.config import LimitsTable
from casemate.controls.access.usage import Usage, Used, Window
from casemate.core.clock import Clock
from casemate.core.errors import BackendError, RequestError
from casemate.core.store import Unsettled
from casemate.ml.frame import Rows
from casemate.serve.health import Health
from casemate.serve.types import Array

MINUTE, DAY = 60, 86400
"""Seconds."""
FLUSH_SECONDS = 0.5
"""Between two writes of what was counted: a worker that is killed forgets as much. Chosen."""
LEAST_ROWS = 200
"""Rows in a day before anything is called probing."""
Key = tuple[str, str, int]
"""Principal or token, model (empty for a rate), span in seconds."""


class TooMany(RequestError):
    """A limit of the caller is used up."""

    code = "CM-RATE"
    http_status = 429

    def __init__(self, message: str, *, limit: str, wait: int) -> None:
        super().__init__(message)
        self.limit = limit
        self.wait = wait


@dataclass(slots=True)
class _Counted:
    window: int
    known: int
    """Of everybody, in this window, when last read."""
    before: int
    """Of everybody, in the windows before it that still count."""
    own: int = 0
    """Since then, here."""


class Quota:
    """Counts what callers use."""

    def __init__(
        self, usage: Usage, clock: Clock, table: LimitsTable, alarm: Callable[[str, str], None]
    ) -> None:
        """Start with what the catalogue knows.

        Args:
            usage: what the catalogue knows of all gateways.
            clock: for the windows.
            table: the limits.
            alarm: hears (principal, message) of probing; may block.
        """
        self.usage, self.clock, self.table = usage, clock, table
        self._alarm = alarm
        self._busy: Counter[str] = Counter()
        self._reserved: Counter[tuple[str, str]] = Counter()
        self._counted: dict[Key, _Counted] = {}
        self._unwritten: dict[Window, list[int]] = {}
        self._unsettled: tuple[Unsettled, dict[Window, list[int]]] | None = None
        """What may be written down, and what is known of that."""
        self._last: dict[tuple[str, str], Array] = {}
        self._outside: set[str] = set()
        """Callers whose alarm could not be recorded: they wait until it is."""
        self._untold: dict[str, str] = {}
        """Principals whose probing is not on record yet, and what it was."""

    def rate(self, key: str, limit: int) -> None:
        """One more request of a token or principal; TooMany when that is more than `limit` a
        minute.
        """
        now = self.clock.now().timestamp()
        counted = self._of((key, "", MINUTE), now)
        # A sliding window: of the minute before counts what has not yet slid out of it, so that no
        # burst fits across the full minute.
        used = counted.before * (1 - now % MINUTE / MINUTE) + counted.known + counted.own
        if used >= limit:
            raise TooMany(
                "more requests than this caller may make in a minute", limit="rate", wait=1
            )
        self._add((key, "", MINUTE), counted.window, Used(1))

    def enter(self, uid: str) -> None:
        """A request to a model begins; TooMany when the caller has too many at once. `leave` must
        follow.

        Raises:
            BackendError: the caller seems to probe models, and that cannot be recorded.
        """
        if uid in self._outside:
            raise BackendError(
                "what this caller does cannot be recorded",
                hint="see that the catalogue takes writes",
            )
        if self._busy[uid] >= self.table.concurrent:
            raise TooMany(
                "too many requests of this caller at the same time", limit="concurrent", wait=1
            )
        self._busy[uid] += 1

    def reserve(self, uid: str, model: str, rows: int) -> None:
        """Rows are about to be asked about; TooMany when the caller has not so many left. `leave`
        gives them back, `served` counts them.
        """
        if self.table.rows is not None:
            counted = self._of((uid, model, DAY), self.clock.now().timestamp())
            # What is asked at this moment counts too, or requests side by side would pass the limit
            # together.
            if (
                counted.before + counted.known + counted.own + self._reserved[uid, model] + rows
                > self.table.rows
            ):
                raise TooMany(
                    f"this caller's {self.table.rows} rows in {self.table.days} days are used up;"
                    " the model's owner can raise [serve.limits] rows",
                    limit="rows",
                    wait=3600,
                )
        self._reserved[uid, model] += rows

    def leave(self, uid: str, model: str, rows: int) -> None:
        """A request has ended that had reserved so many rows."""
        # Callers that have left take no memory: there may be very many over a year.
        self._busy[uid] -= 1
        if not self._busy[uid]:
            del self._busy[uid]
        self._reserved[uid, model] -= rows
        if not self._reserved[uid, model]:
            del self._reserved[uid, model]

    def served(
        self, uid: str, model: str, rows: Rows, count: int, noticed: int, now: float
    ) -> None:
        """Rows were answered at `now` (seconds since 1970), of which guards noticed some."""
        odd = noticed
        if not isinstance(rows, dict):
            last = self._last.get((uid, model))
            if len(self._last) > 10_000:
                self._last.clear()
            self._last[uid, model] = rows[-1].copy()  # a view would keep the whole request
            if last is not None and len(last) > 1 and np.count_nonzero(rows[0] != last) == 1:
                odd += 1
            if count > 1 and len(rows[0]) > 1:
                odd += int(((rows[1:] != rows[:-1]).sum(axis=1) == 1).sum())
        self._add((uid, model, DAY), int(now) // DAY, Used(1, count, min(odd, count)))

    def _add(self, key: Key, window: int, used: Used) -> None:
        """Count; what is not known of the window yet is read when a limit is asked about, not here,
        where an answer is ready.
        """
        counted = self._counted.get(key)
        if counted is not None and counted.window == window:
            counted.own += _limited(key, used)
        row = self._unwritten.setdefault((*key, window), [0, 0, 0])
        row[0] += used.requests
        row[1] += used.rows
        row[2] += used.odd

    def _of(self, key: Key, now: float) -> _Counted:
        window = int(now) // key[2]
        found = self._counted.get(key)
        if found is not None and found.window == window:
            return found
        if len(self._counted) > 10_000:
            self._counted.clear()
        found = self._counted[key] = self._counting(
            key, window, self.usage.of(*key, window - self._windows(key))
        )
        found.own = _limited(key, Used(*self._unwritten.get((*key, window), ())))
        return found

    def _windows(self, key: Key) -> int:
        """How many windows before this one count."""
        return self.table.days - 1 if key[2] == DAY else 1

    def _counting(self, key: Key, window: int, used: dict[int, Used]) -> _Counted:
        amounts = {
            number: _limited(key, one)
            for number, one in used.items()
            if number >= window - self._windows(key)
        }
        return _Counted(window, amounts.pop(window, 0), sum(amounts.values()))

    async def watch(self, health: Health) -> None:
        """Write down and read, for ever; `health` hears when that fails."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self.flush(loop)
                health.well("usage")
            except Exception as error:  # noqa: BLE001 - what could not be written is kept and counts here; the next turn tries again
                health.failed("usage", error)

    async def flush(self, loop: asyncio.AbstractEventLoop) -> None:
        """Write down what was served, and read what all have served."""
        if self._untold:
            await loop.run_in_executor(None, self._tell)
        if self._unsettled is not None:
            fault, held = self._unsettled
            if not await loop.run_in_executor(None, fault.was_done):
                self._put_back(held)
            self._unsettled = None
        if not self._unwritten:
            return
        taken, self._unwritten = self._unwritten, {}
        try:
            totals = await loop.run_in_executor(None, self._write, taken)
        except Unsettled as fault:
            self._unsettled = fault, taken
            raise
        except BaseException:
            self._put_back(taken)
            raise
        for key, counted in totals.items():
            here = self._counted.get(key)
            if here is not None and here.window == counted.window:
                here.known, here.before = counted.known, counted.before
                here.own = _limited(key, Used(*self._unwritten.get((*key, here.window), ())))

    def _put_back(self, taken: dict[Window, list[int]]) -> None:
        for name, row in taken.items():
            kept = self._unwritten.setdefault(name, [0, 0, 0])
            for place, value in enumerate(row):
                kept[place] += value

    def _write(self, taken: dict[Window, list[int]]) -> dict[Key, _Counted]:
        totals = self.usage.add(
            [(window, Used(*row)) for window, row in taken.items()], max(self.table.days - 1, 1)
        )
        for (principal, model, span, window), used in totals.items():
            today = used[window]
            if (
                span == DAY
                and today.rows >= LEAST_ROWS
                and today.odd > self.table.probing * today.rows
            ):
                self._untold[principal] = (
                    f"{today.odd} of {today.rows} rows that were asked of {model} today look like"
                    " probing"
                )
        self._tell()
        return {
            (principal, model, span): self._counting((principal, model, span), window, used)
            for (principal, model, span, window), used in totals.items()
        }

    def _tell(self) -> None:
        """Raise the alarms that are due; one that fails stays due, and its caller waits outside."""
        for principal, message in list(self._untold.items()):
            try:
                self._alarm(principal, message)
            except Exception:  # noqa: BLE001 - what was counted must not be counted again
                self._outside.add(principal)
            else:
                del self._untold[principal]
                self._outside.discard(principal)


def _limited(key: Key, used: Used) -> int:
    """What the limit counts: rows in a day, requests in a minute."""
    return used.rows if key[2] == DAY else used.requests
