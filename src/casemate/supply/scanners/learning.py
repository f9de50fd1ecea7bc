"""Code, by our own rules for machine learning: what bandit does not know. Nothing is run; each file
is read as Python's own `ast` reads it.
"""

import ast
import re
import warnings
from collections.abc import Iterator

from casemate.core.types.scan import ScanKind
from casemate.supply.scanners import rules
from casemate.supply.scanners.calls import Names, constant, keyword, name_of
from casemate.supply.scanners.interface import Hit, Looked, Place
from casemate.supply.scanners.leakage import leaks
from casemate.supply.scanners.source import Source, sources

VERSION = "1"
LOADS = {
    "pickle.load", "pickle.loads", "pickle.Unpickler", "cPickle.load", "cPickle.loads",
    "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load",
    "marshal.load", "marshal.loads", "shelve.open", "jsonpickle.decode", "pandas.read_pickle",
    "yaml.unsafe_load", "yaml.full_load", "sklearn.externals.joblib.load",
    "mlflow.sklearn.load_model", "mlflow.pyfunc.load_model", "tensorflow.saved_model.load",
}  # fmt: skip
"""Calls that run what a file says, whatever their arguments."""
COMPILED = (".pyc", ".pyo", ".pyd", ".so")
"""What Python imports as it imports a file of text; caches of its own are passed over."""
PINNED = re.compile(r"^[0-9a-f]{7,64}$")
HUBS = ("from_pretrained", "hf_hub_download", "snapshot_download", "load_dataset")


class Learning:
    """Looks at Python files and notebooks."""

    id = "casemate-code"
    kind: ScanKind = "code"

    def look(self, place: Place) -> Looked:
        """See `Scanner.look`."""
        every = sources(place, place.folder(self.id))
        unseen, hits = dict(every.unseen), []
        for path in place.of(*COMPILED):
            unseen[path] = "it is compiled code, which no scanner here reads"
        for source in every.found:
            try:
                hits += _hits(source)
            except (SyntaxError, ValueError) as error:
                unseen[source.path] = f"it is no Python that can be read: {error}"
            except (RecursionError, MemoryError):
                unseen[source.path] = "it is nested too deeply to be read"
        return Looked(
            scanner=self.id,
            kind=self.kind,
            version=VERSION,
            hits=hits,
            count=len(every.found),
            unseen=unseen,
        )


def _hits(source: Source) -> list[Hit]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of other people's code
        tree = ast.parse(source.file.read_bytes(), filename=source.path)
    names = Names(tree)
    found = [*_calls(tree, names), *leaks(tree, names), *_settings(tree, names)]
    hits = [
        _hit(source, rule, source.where(number), source.said(number))
        for rule, number in sorted(set(found), key=lambda one: one[1])
    ]
    return hits + [
        _hit(source, "code.notebook-shell", (cell, line), " ".join(text.split()))
        for cell, line, text in source.shell
    ]


def _hit(source: Source, name: str, where: tuple[int, int], material: str) -> Hit:
    rule, (cell, line) = rules.RULES[name], where
    return Hit(
        rule=name,
        severity=rule.severity,
        message=rule.title,
        path=source.path,
        line=line,
        cell=cell,
        material=material,
        references=list(rule.references),
        mend=rule.mend,
    )


def _calls(tree: ast.AST, names: Names) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = names.of(node.func)
        rule = _rule(node, called)
        if rule:
            yield rule, node.lineno
        if constant(keyword(node, "verify")) is False:
            yield "code.tls-off", node.lineno
        if constant(keyword(node, "trust_remote_code")) is True:
            yield "code.remote-code", node.lineno


def _rule(node: ast.Call, called: str) -> str:
    """What is wrong with a call by the name of what is called; empty: nothing."""
    if called in ("eval", "exec", "builtins.eval", "builtins.exec"):
        return "code.eval"
    if called in LOADS or _unsafe(node, called):
        return "code.unsafe-load"
    if called == "ssl._create_unverified_context":
        return "code.tls-off"
    if called.rpartition(".")[2] in HUBS and _foreign(node):
        pinned = constant(keyword(node, "revision"))
        return "" if isinstance(pinned, str) and PINNED.match(pinned) else "code.unpinned-hub"
    if called == "torch.hub.load" and _foreign(node):
        named = constant(node.args[0])
        reference = named.partition(":")[2] if isinstance(named, str) else ""
        return "" if PINNED.match(reference) else "code.unpinned-hub"
    return ""


def _unsafe(node: ast.Call, called: str) -> bool:
    """Loads whose arguments decide."""
    if called == "torch.load":
        return constant(keyword(node, "weights_only")) is False
    if called == "numpy.load":
        return constant(keyword(node, "allow_pickle")) is True
    if called.endswith("models.load_model") or called == "keras.saving.load_model":
        return constant(keyword(node, "safe_mode")) is False
    if called in ("yaml.load", "yaml.load_all"):
        loader = keyword(node, "Loader") or (node.args[1] if len(node.args) > 1 else None)
        return loader is None or not name_of(loader).endswith(("SafeLoader", "BaseLoader"))
    return False


def _foreign(node: ast.Call) -> bool:
    """Whether what is fetched is named by a text that is no path."""
    if constant(keyword(node, "local_files_only")) is True:
        return False
    first = node.args[0] if node.args else keyword(node, "repo_id") or keyword(node, "path")
    named = constant(first)
    return isinstance(named, str) and not named.startswith((".", "/", "~"))


def _settings(tree: ast.AST, names: Names) -> Iterator[tuple[str, int]]:
    """TLS that is switched off by assignment."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
            continue
        attribute = node.targets[0].attr
        off = attribute == "check_hostname" and constant(node.value) is False
        none = attribute == "verify_mode" and names.of(node.value) == "ssl.CERT_NONE"
        whole = names.of(node.targets[0]) == "ssl._create_default_https_context"
        session = attribute == "verify" and constant(node.value) is False
        if off or none or whole or session:
            yield "code.tls-off", node.lineno
