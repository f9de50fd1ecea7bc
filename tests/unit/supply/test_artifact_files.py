"""Model files in a tree: what each kind would execute, and what of them is known to do no harm."""

import gzip
import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest

from casemate.supply.scanners.artifactfile import said_of

SYSTEM = b"cposix\nsystem\n(X\x02\0\0\0idtR."


class Runs:
    def __reduce__(self):
        return eval, ("1",)


def zipped(**files):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_D", "."), content)
    return stream.getvalue()


def array(value, save=np.save, **more):
    stream = io.BytesIO()
    save(stream, value, **more) if save is np.save else save(stream, a=value)
    return stream.getvalue()


def safetensors():
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + b"\0" * 4


HOSTILE = {
    **{f"protocol {number}": pickle.dumps(Runs(), number) for number in range(2, 6)},
    "a name of the operating system": b"\x80\x02" + SYSTEM,
    "gzipped": gzip.compress(b"\x80\x02" + SYSTEM),
    "an array of objects": array(np.array([Runs()], dtype=object), allow_pickle=True),
    "arrays of objects": array(np.array([Runs()], dtype=object), np.savez),
    "weights with a pickle": zipped(m__data_Dpkl=b"\x80\x02" + SYSTEM),
    "TorchScript": zipped(m__data_Dpkl=b"\x80\x02N.", m__code__x_Dpy=b"1"),
    "Keras with a Lambda": zipped(config_Djson=b'{"class_name": "Lambda"}'),
    "HDF5 with a Lambda": b"\x89HDF\r\n\x1a\n" + b"Lambda",
}
BENIGN = {
    "an array": array(np.zeros(3)),
    "arrays": array(np.zeros(3), np.savez),
    "safetensors": safetensors(),
    "a pickle of numbers": pickle.dumps([1.0, 2.0], 4),
    "weights": zipped(m__data_Dpkl=b"\x80\x02ccollections\nOrderedDict\n)R."),
    "Keras": zipped(config_Djson=b'{"module": "keras.layers"}'),
    "HDF5": b"\x89HDF\r\n\x1a\n" + b"Dense",
}
UNKNOWN = {
    "protocol 0": pickle.dumps(Runs(), 0),
    "cut off": pickle.dumps(Runs(), 4)[:-2],
    "nothing": b"",
    "GGUF": b"GGUF\3\0\0\0",
    "a broken array": array(np.zeros(3))[:9],
}


@pytest.fixture
def said(tmp_path):
    def of(content):
        (tmp_path / "file").write_bytes(content)
        return said_of(str(tmp_path / "file"))

    return of


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_run_something_is_told(name, said):
    found = said(HOSTILE[name])
    assert found.known and found.problems


@pytest.mark.parametrize("name", BENIGN)
def test_what_does_no_harm_is_not_told_though_no_model_can_be_made_of_it_here(name, said):
    found = said(BENIGN[name])
    assert (found.known, found.problems) == (True, [])


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_cannot_be_read_is_not_known(name, said):
    assert not said(UNKNOWN[name]).known
