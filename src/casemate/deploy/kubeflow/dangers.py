"""What is unsafe in pipelines that somebody has edited. A linter: it reads the Python that is
rendered here, and no other way to write the same.
"""

import ast
import re
import shlex
from collections.abc import Iterator

from casemate.deploy.ci import dangers as unsafe
from casemate.deploy.images import is_pinned

CARRY_OUT = "carry_out"
CONDITIONS = ("If", "Elif", "Condition", "ExitHandler")
HEARD = re.compile(r'\|\| test "\$\?" -eq 1$')
"""The one exit code of `casemate run` and its kind that is a result."""
TOLERANT = re.compile(r"\bcasemate\b.*\b(run|runs export|feedback screen)\b")
JOINING = {"||", "&&", ";", "|", "&", "|&"}
NEGATING = {"!", "if", "while", "until"}
"""What lets a shell go on although a command on the line failed."""


def dangers(content: bytes) -> list[str]:
    """What is unsafe in it, edited perhaps."""
    if len(content) > unsafe.MOST:
        return ["it is larger than any pipeline that is rendered here"]
    try:
        module = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ["it is no Python that kfp could compile"]
    found = _of_components(module)
    functions = [one for one in ast.walk(module) if isinstance(one, ast.FunctionDef)]
    read: set[int] = set()
    for function in functions:
        lines = list(_lines(function))
        read |= {id(line) for line in lines}
        found += _of_lines(function, [str(line.value) for line in lines])
    unread = (
        one
        for one in ast.walk(module)
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and id(one) not in read
    )
    if any(unsafe.PROMOTE.search(str(one.value)) for one in unread):
        found.append("a model is promoted by a step that is not read here; write it in carry_out")
    return found


def _of_components(module: ast.Module) -> list[str]:
    found = []
    cached = True
    for node in ast.walk(module):
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["IMAGE"]:
            found += _of_image(node.value)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        said = {one.arg: one.value for one in node.keywords}
        if "base_image" in said and ast.unparse(said["base_image"]) != "IMAGE":
            found += _of_image(said["base_image"])
        if "packages_to_install" in said and ast.unparse(said["packages_to_install"]) != "[]":
            found.append("packages are fetched when a step starts; put them into the image")
        if name in ("component", "dict") and "base_image" in said:
            own = said.get("install_kfp_package")
            if own is None or ast.unparse(own) != "False":
                found.append("kfp is fetched when a step starts (install_kfp_package)")
        if name in CONDITIONS:
            found.append(f"dsl.{name}: a condition compares texts; let a step fail instead")
        if name == "ignore_upstream_failure":
            found.append("a step that goes on although one before it failed")
        if name == "set_caching_options":
            cached = cached and [ast.unparse(one) for one in node.args] == ["False"]
    if not cached or "set_caching_options" not in ast.unparse(module):
        found.append("kfp answers steps from its cache: set_caching_options(False)")
    return found


def _of_image(value: ast.expr) -> list[str]:
    if isinstance(value, ast.Constant) and is_pinned(value.value):
        return []
    return ["an image by a tag, which may be moved; name it by @sha256:..."]


def _lines(function: ast.FunctionDef) -> Iterator[ast.Constant]:
    """The shell lines of a component."""
    for call in _calls(function):
        for argument in call.args[1:]:
            for part in argument.elts if isinstance(argument, ast.List) else []:
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part


def _calls(function: ast.FunctionDef) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == CARRY_OUT
    ]


def _is_read(call: ast.Call) -> bool:
    """Whether all that a shell gets is written where it is called."""
    return (
        len(call.args) == 2
        and not call.keywords
        and isinstance(call.args[1], ast.List)
        and all(isinstance(part, ast.Constant) for part in call.args[1].elts)
    )


def _of_lines(function: ast.FunctionDef, lines: list[str]) -> list[str]:
    where, found = function.name, []
    inside = list(ast.walk(function))
    if where == CARRY_OUT:
        refusals = [one for one in inside if isinstance(one, ast.If) and _raises(one)]
        tested = {ast.unparse(one.test) for one in refusals}
        if not tested & {"process.wait() != 0", "process.wait()"} or _swallows(inside):
            found.append(f"{where}: the exit code of a command is not heard")
    if not all(map(_is_read, _calls(function))):
        found.append(f"{where}: lines that are not read here; write them where they are called")
    if not lines:
        return found
    if _swallows(inside):
        found.append(f"{where}: an error of a step is swallowed")
    for line in unsafe.commands(lines):
        rest = HEARD.sub("", line) if TOLERANT.search(line) and where != "gate" else line
        if "casemate" in rest and _goes_on(rest):
            found.append(f"{where}: the exit code of a command is not heard: {line[:80]}")
    if unsafe.unverified(lines):
        found.append(f"{where}: a model is promoted that `casemate verify --key` did not see")
    return found


def _goes_on(line: str) -> bool:
    """Whether a shell may go on although a command on the line failed."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    try:
        words = list(reader)
    except ValueError:  # a quote that does not end
        return True
    return bool(JOINING & set(words)) or words[:1] in ([one] for one in NEGATING)


def _raises(node: ast.If) -> bool:
    return any(isinstance(one, ast.Raise) for one in node.body)


def _swallows(inside: list[ast.AST]) -> bool:
    return any(
        isinstance(one, ast.Try | ast.TryStar)
        or (isinstance(one, ast.With) and "suppress" in ast.unparse(one.items[0]))
        for one in inside
    )
