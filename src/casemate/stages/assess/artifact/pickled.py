"""What a pickle would name and call, read to its last byte with inert stand-ins: nothing of it is
executed.

The standard library's own pure-Python reader interprets the opcodes, so there is no second parser
to disagree with; every name becomes a stand-in that takes any argument and does nothing. joblib
puts raw array bytes between the opcodes: their length follows from the wrapper's state, and arrays
of objects hold a pickle of their own, which is read too.
"""

import io
import math
import pickle
from typing import Any, Self

MOST_OPERATIONS = 20_000_000
"""Opcodes of a pickle that are read. Chosen: far more than an honest model has."""
WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"


_PURE: Any = pickle._Unpickler  # noqa: SLF001 - only the pure-Python reader shows its opcodes


class Unreadable(ValueError):
    """The file cannot be read to its end, so nothing can be said of it."""


class _Inert:
    """Stands for whatever a pickle names or builds."""

    name = ""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.state: Any = None

    def __new__(cls, *_: Any, **__: Any) -> Self:
        return object.__new__(cls)

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __call__(self, *_: Any, **__: Any) -> "_Inert":
        return _Inert()

    def append(self, _: Any) -> None:
        """Part of the list protocol."""

    def extend(self, _: Any) -> None:
        """Part of the list protocol."""

    def add(self, _: Any) -> None:
        """Part of the set protocol."""

    def __setitem__(self, _: Any, __: Any) -> None:
        """Part of the mapping protocol."""

    def __hash__(self) -> int:
        return id(self)


class _Reader(_PURE):  # type: ignore[misc]
    def __init__(self, file: Any, names: set[str]) -> None:
        super().__init__(file)
        self.file, self.names, self.count = file, names, 0

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        self.names.add(full)
        return type("Inert", (_Inert,), {"name": full})

    def persistent_load(self, pid: Any) -> Any:
        return _Inert()

    def get_extension(self, code: int) -> None:
        self.names.add(f"copyreg extension {code}")
        self.append(_Inert())

    def load_build(self) -> None:
        super().load_build()
        self.count += 1
        if self.count > MOST_OPERATIONS:
            raise Unreadable("too many objects")
        built = self.stack[-1]
        if isinstance(built, _Inert) and built.name == WRAPPER:
            self._skip_array(built.state)

    def _skip_array(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise Unreadable("an array's description is no dictionary")
        kind, shape = state.get("dtype"), state.get("shape")
        described = kind.state if isinstance(kind, _Inert) else None
        if (
            not isinstance(shape, tuple)
            or not all(isinstance(side, int) and side >= 0 for side in shape)
            or described is None
        ):
            raise Unreadable("an array's description is incomplete")
        size = self.sizes.get(id(kind))
        if size is None:
            raise Unreadable("an array's type is unknown")
        if size < 0:
            self.names |= names_of(self.file)
            return
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = self.file.read(1)
            if len(padding) != 1 or len(self.file.read(padding[0])) != padding[0]:
                raise Unreadable("an array is cut off")
        wanted = size * math.prod(shape)
        at = self.file.tell()
        self.file.seek(wanted, io.SEEK_CUR)
        if self.file.tell() != at + wanted or self.file.tell() > self.length:
            raise Unreadable("an array is cut off")

    sizes: dict[int, int]
    length: int

    def load_reduce(self) -> None:
        arguments, function = self.stack[-1], self.stack[-2]
        super().load_reduce()
        if (
            isinstance(function, type)
            and getattr(function, "name", "") == "numpy.dtype"
            and arguments
            and isinstance(arguments[0], str)
        ):
            self.sizes[id(self.stack[-1])] = _item_size(arguments[0])
            self.kept.append(self.stack[-1])  # so that its id stays its own

    kept: list[Any]


_Reader.dispatch = dict(_PURE.dispatch)
_Reader.dispatch[pickle.BUILD[0]] = _Reader.load_build
_Reader.dispatch[pickle.REDUCE[0]] = _Reader.load_reduce


def _item_size(code: str) -> int:
    """Bytes of one item of a NumPy type code; -1 for objects."""
    import numpy as np

    try:
        kind = np.dtype(code)
    except TypeError as error:
        raise Unreadable(f"an array has the type {code!r}") from error
    return -1 if kind.hasobject else kind.itemsize


def names_of(file: Any) -> set[str]:
    """Every `module.name` that one pickle in a seekable binary file refers to; the file stands
    behind it afterwards.

    Raises:
        Unreadable: it is malformed, cut off, or does what cannot be followed.
    """
    names: set[str] = set()
    at = file.tell()
    reader = _Reader(file, names)
    reader.sizes, reader.kept = {}, []
    reader.length = file.seek(0, io.SEEK_END)
    file.seek(at)
    try:
        reader.load()
    except Unreadable:
        raise
    except Exception as error:
        raise Unreadable(f"{type(error).__name__}: {error}"[:200]) from error
    return names


def all_names(content: bytes) -> set[str]:
    """Every name of a file of one or more pickles, which must end with the last one."""
    file = io.BytesIO(content)
    names: set[str] = set()
    while file.tell() < len(content):
        names |= names_of(file)
    return names
