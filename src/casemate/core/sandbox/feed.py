"""Rows for a confined job that are more than memory holds: an Arrow stream in a pipe that a thread
outside fills, a piece at a time, while the job reads.

No plain row reaches the disk. A job that ends, or never reads, ends the thread; what goes wrong
outside ends the stream early, and is raised where the job is waited for.
"""

import contextlib
import io
import os
import select
import threading
from collections.abc import Callable, Iterator

import pyarrow as pa

FED = "fed"
"""In the job: the descriptor that the rows are read from, where somebody gives any."""
_LOOK = 200
"""Milliseconds after which a writer that nobody reads looks whether it should end."""
Pieces = Callable[[], Iterator[pa.RecordBatch]]
"""Begins to read the rows; all pieces have the columns of the first one."""


class _Ended(Exception):
    """Nobody reads any longer."""


class Feed:
    """The side outside: one for each job that is given such rows."""

    def __init__(self, pieces: Pieces, pipe: int) -> None:
        """Begin at once; the job may take the rows whenever it likes.

        Args:
            pieces: what is handed over, at least one.
            pipe: where it is written; closed with the feed.
        """
        self.fault: BaseException | None = None
        """Why not all rows were handed over."""
        self.rows = 0
        """Those that the job has taken, or can take."""
        self.whole = False
        """Whether they are all."""
        self._pieces, self._pipe = pieces, pipe
        self._closed = threading.Event()
        os.set_blocking(pipe, False)
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        try:
            with contextlib.closing(self._pieces()) as pieces:  # type: ignore[type-var]
                first = next(pieces)
                sink = pa.PythonFile(_Pipe(self._pipe, self._closed), mode="w")
                with pa.ipc.new_stream(sink, first.schema) as writer:
                    writer.write_batch(first)
                    self.rows += first.num_rows
                    for piece in pieces:
                        writer.write_batch(piece)
                        self.rows += piece.num_rows
            self.whole = True
        except (_Ended, BrokenPipeError):  # how the job ended is told by itself
            return
        except BaseException as error:  # noqa: BLE001 - raised again where the job is waited for
            self.fault = error
        finally:
            os.close(self._pipe)  # the job sees an end

    def close(self) -> None:
        """End the thread; the job is gone, or needs no more rows."""
        self._closed.set()
        self._thread.join()


class _Pipe(io.RawIOBase):
    """Writes whole, and gives up where nobody is left who could read."""

    def __init__(self, pipe: int, closed: threading.Event) -> None:
        super().__init__()
        self._descriptor, self._given_up = pipe, closed
        self._poll = select.poll()
        self._poll.register(pipe, select.POLLOUT)

    def writable(self) -> bool:
        return True

    def write(self, content: object) -> int:
        view = memoryview(content).cast("B")  # type: ignore[arg-type]
        size = len(view)
        while view:
            if self._given_up.is_set():
                raise _Ended
            if self._poll.poll(_LOOK):
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(self._descriptor, view) :]
        return size


def fed(descriptor: int) -> Iterator[pa.RecordBatch]:
    """The job's side: the rows, a piece at a time, as they are handed over."""
    with os.fdopen(descriptor, "rb") as file, pa.ipc.open_stream(file) as stream:
        yield from stream
