"""What Python code calls things, as far as reading it tells."""

import ast

Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


class Names:
    """What names in a file stand for, by its imports."""

    def __init__(self, tree: ast.AST) -> None:
        self._known: dict[str, str] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for one in node.names:
                    short = one.asname or one.name.partition(".")[0]
                    self._known[short] = one.name if one.asname else short
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                for one in node.names:
                    self._known[one.asname or one.name] = f"{node.module}.{one.name}"

    def of(self, node: ast.AST) -> str:
        """The whole name of what an expression names, such as `numpy.load`; empty: none."""
        name = name_of(node)
        first, dot, rest = name.partition(".")
        return self._known.get(first, first) + dot + rest


def name_of(node: ast.AST) -> str:
    """`a.b.c` as it is written; empty for other expressions."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Name):
        return ".".join([node.id, *reversed(parts)])
    # a method of something that has no name: its own name is what matters
    return ".".join(["", *reversed(parts)]) if parts else ""


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    """The value that a call gives for a keyword."""
    return next((one.value for one in call.keywords if one.arg == name), None)


def constant(node: ast.expr | None) -> object:
    """A value that is written as it is; Ellipsis where it is none."""
    return node.value if isinstance(node, ast.Constant) else ...


def read(node: ast.AST) -> set[str]:
    """Plain names that an expression reads."""
    return {
        one.id
        for one in ast.walk(node)
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)
    }
