"""A rule for `app/`: Streamlit gets Markdown from our own constants alone; the rest goes through `plain`.

A small type check by reading the source. *Markdown* are: constants of the source; names in capitals (module
constants) and what is looked up in them; calls of `plain` and `filled`; whatever is annotated `Markdown`
(parameters, fields of dataclasses, results of functions); numbers (a format of digits, `len`, `round`); and
texts put together from these. What is annotated so is checked where it is made: the arguments of calls, the
results of functions.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["offences"]

# Which arguments Streamlit reads as Markdown, by the name of the call: positions and keywords.
_LABEL = ((0,), ("label", "help"))
_BODY = ((0,), ("body", "help"))
READS: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {
    **dict.fromkeys(
        "button checkbox download_button expander file_uploader form_submit_button link_button number_input "
        "page_link popover select_slider selectbox multiselect slider text_area text_input toggle chat_input "
        "color_picker date_input time_input camera_input audio_input status".split(),
        _LABEL,
    ),
    **dict.fromkeys(
        "caption markdown title header subheader info warning error success toast write badge table "
        "exception write_stream latex html".split(),
        _BODY,
    ),
    "metric": ((0, 1, 2), ("label", "value", "delta", "help")),
    "progress": ((1,), ("text",)),
    "spinner": ((0,), ("text",)),
    "image": ((), ("caption",)),
    "tabs": ((0,), ("tabs",)),
    "update": ((), ("label",)),
    # Their options are Markdown as well, unless `format_func` makes it so.
    "pills": ((0, 1), ("label", "options", "help")),
    "radio": ((0, 1), ("label", "options", "help", "captions")),
    "segmented_control": ((0, 1), ("label", "options", "help")),
}  # fmt: skip
_OPTIONS = {"pills", "radio", "segmented_control"}
# Raw HTML is another matter: its makers escape (`html.escape`), and tests of theirs say so.
_SKIPPED = {"html"}
_NUMBER = re.compile(r"[<>=^+]?[+]?[\d,]*(\.\d+)?[,]?([bdeEfFgGn%]|(?<=,))")
_NUMERIC_CALLS = {"len", "round", "int", "float", "sum", "min", "max", "abs", "ceil", "floor"}


@dataclass
class _Known:
    """What the source says of itself, by bare name."""

    returns: set[str] = field(default_factory=set)
    numbers: set[str] = field(default_factory=set)  # functions and fields that are numbers
    parameters: dict[str, dict[str, int]] = field(default_factory=dict)  # function or class → Markdown ones
    makers: dict[str, dict[str, int]] = field(default_factory=dict)  # class → fields that make Markdown
    fields: set[tuple[str, str]] = field(default_factory=set)  # name of the class in small letters, field


def _is_markdown(annotation: ast.expr | None) -> bool:
    said = "" if annotation is None else ast.unparse(annotation)
    return bool(re.search(r"\bMarkdown\b", said)) and not _makes_markdown(annotation)


def _makes_markdown(annotation: ast.expr | None) -> bool:
    """Whether an annotation is of a function that returns Markdown."""
    said = "" if annotation is None else ast.unparse(annotation)
    return bool(re.match(r"Callable\[.*, Markdown\]", said))


def _is_number(annotation: ast.expr | None) -> bool:
    return annotation is not None and ast.unparse(annotation) in ("int", "float", "bool")


def _learn(trees: dict[str, ast.Module]) -> _Known:
    known = _Known()
    for tree in trees.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                if _is_markdown(node.returns):
                    known.returns.add(node.name)
                if _is_number(node.returns):
                    known.numbers.add(node.name)
                args = [*node.args.posonlyargs, *node.args.args]
                start = 1 if args and args[0].arg in ("self", "cls") else 0
                marked = {a.arg: i - start for i, a in enumerate(args) if _is_markdown(a.annotation)}
                marked |= {a.arg: 99 for a in node.args.kwonlyargs if _is_markdown(a.annotation)}
                if marked:
                    known.parameters.setdefault(node.name, {}).update(marked)
            elif isinstance(node, ast.ClassDef):
                own = [
                    n for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)
                ]
                for place, item in enumerate(own):
                    assert isinstance(item.target, ast.Name)
                    if _makes_markdown(item.annotation):
                        known.returns.add(item.target.id)
                        known.makers.setdefault(node.name, {})[item.target.id] = place
                    if _is_markdown(item.annotation):
                        known.fields.add((node.name.strip("_").lower(), item.target.id))
                        known.parameters.setdefault(node.name, {})[item.target.id] = place
    return known


class _Reader(ast.NodeVisitor):
    def __init__(self, name: str, known: _Known, *, draws: bool) -> None:
        self.name, self.known, self.draws = name, known, draws
        self.found: list[str] = []
        self.functions: list[ast.FunctionDef | ast.Lambda] = []
        self.classes: list[str] = []

    # -- is it Markdown of our own? ------------------------------------------------------------

    def safe(self, node: ast.expr | None) -> bool:
        if node is None or isinstance(node, ast.Constant):
            return True
        if isinstance(node, ast.JoinedStr):
            return all(self._part(value) for value in node.values)
        if isinstance(node, ast.Name):
            return _capital(node.id) or self._local(node.id)
        if isinstance(node, ast.Attribute):
            return _capital(node.attr) or self._field(node)
        if isinstance(node, ast.Subscript):
            return self.safe(node.value)
        if isinstance(node, ast.IfExp):
            return self.safe(node.body) and self.safe(node.orelse)
        if isinstance(node, ast.BoolOp):
            return all(map(self.safe, node.values))
        if isinstance(node, ast.BinOp):
            return self.safe(node.left) and self.safe(node.right)
        if isinstance(node, (ast.List, ast.Tuple)):
            return all(self.safe(item.value if isinstance(item, ast.Starred) else item) for item in node.elts)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            return self.safe(node.elt)
        if isinstance(node, ast.Call):
            return self._call(node)
        return False

    def _field(self, node: ast.Attribute) -> bool:
        """Whether an attribute is a Markdown field: its owner must be called as its class is, or `self`."""
        owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
        owner = self.classes[-1] if owner == "self" and self.classes else owner.strip("_").lower()
        return (owner, node.attr) in self.known.fields

    def _part(self, value: ast.expr) -> bool:
        if not isinstance(value, ast.FormattedValue):
            return True
        if value.format_spec is not None:
            spec = "".join(str(v.value) for v in value.format_spec.values if isinstance(v, ast.Constant))  # type: ignore[attr-defined]
            return bool(_NUMBER.fullmatch(spec))
        return self.safe(value.value)

    def _call(self, node: ast.Call) -> bool:
        name = _called(node)
        # `Markdown(…)` is a cast: rare, and easy to search for.
        if name in self.known.returns or name in self.known.numbers or name in (*_NUMERIC_CALLS, "Markdown"):
            return True
        if name in ("DataFrame", "set_index"):
            inner = [node.func.value] if name == "set_index" and isinstance(node.func, ast.Attribute) else []
            return all(map(self.safe, [*inner, *node.args]))
        if name == "join" and isinstance(node.func, ast.Attribute):
            return self.safe(node.func.value) and all(map(self.safe, node.args))
        if name in ("replace", "capitalize", "lower", "strip", "removesuffix") and isinstance(
            node.func, ast.Attribute
        ):
            return self.safe(node.func.value) and all(map(self.safe, node.args))
        if name in ("list", "tuple", "sorted", "str") and node.args:
            return self.safe(node.args[0])
        if name == "get" and isinstance(node.func, ast.Attribute):
            return self.safe(node.func.value) and all(map(self.safe, node.args[1:]))
        if name != "format" or not isinstance(node.func, ast.Attribute):
            return False
        return all(map(self.safe, [node.func.value, *node.args, *(k.value for k in node.keywords)]))

    def _local(self, name: str) -> bool:
        """Whether a name of the functions around is Markdown wherever it is given a value."""
        for function in reversed(self.functions):
            args = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
            for argument in args:
                if argument.arg == name:
                    return _is_markdown(argument.annotation) or _is_number(argument.annotation)
            if isinstance(function, ast.Lambda):
                continue
            values = list(_assigned(function, name))
            if values:
                return all(value is not ... and self.safe(value) for value in values)
        return False

    # -- walking -----------------------------------------------------------------------------------

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.classes.append(node.name.strip("_").lower())
        self.generic_visit(node)
        self.classes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.functions.append(node)
        if _is_markdown(node.returns) and node.name not in ("plain", "filled"):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Return) and not self.safe(inner.value):
                    self._note(inner, f"{node.name} returns Markdown", inner.value)
        self.generic_visit(node)
        self.functions.pop()

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self.functions.append(node)
        self.generic_visit(node)
        self.functions.pop()

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node)
        if self.draws and name in READS and isinstance(node.func, ast.Attribute) and name not in _SKIPPED:
            places, keywords = READS[name]
            formatted = next((k.value for k in node.keywords if k.arg == "format_func"), None)
            for place, argument in enumerate(node.args):
                if place in places and not (formatted is not None and name in _OPTIONS and place == 1):
                    self._check(argument, f"{name}()")
            for keyword in node.keywords:
                if keyword.arg in keywords and not (formatted is not None and keyword.arg == "options"):
                    self._check(keyword.value, f"{name}({keyword.arg}=)")
            if formatted is not None and name in _OPTIONS:
                self._format(formatted, name)
        for parameter, place in self.known.parameters.get(name, {}).items():
            given = next((k.value for k in node.keywords if k.arg == parameter), None)
            if given is None and place < len(node.args):
                given = node.args[place]
            if given is not None and not isinstance(given, ast.Starred):
                self._check(given, f"{name}({parameter}=)")
        for parameter in self.known.makers.get(name, {}):
            given = next((k.value for k in node.keywords if k.arg == parameter), None)
            if given is not None and not (isinstance(given, ast.Name) and given.id in self.known.returns):
                self._note(given, f"{name}({parameter}=)", given)
        if name == "replace":
            for keyword in node.keywords:
                if keyword.arg in {name for _, name in self.known.fields}:
                    self._check(keyword.value, f"replace({keyword.arg}=)")
        self.generic_visit(node)

    def _format(self, function: ast.expr, name: str) -> None:
        if isinstance(function, ast.Lambda):
            self.functions.append(function)
            self._check(function.body, f"{name}(format_func=)")
            self.functions.pop()
        elif not (isinstance(function, ast.Name) and (function.id in self.known.returns)):
            self._note(function, f"{name}(format_func=)", function)

    def _check(self, node: ast.expr, where: str) -> None:
        if not self.safe(node):
            self._note(node, where, node)

    def _note(self, node: ast.AST, where: str, value: ast.AST | None) -> None:
        said = "" if value is None else ast.unparse(value)[:110]
        self.found.append(f"{self.name}:{node.lineno}: {where} gets {said}")  # type: ignore[attr-defined]


def _capital(name: str) -> bool:
    return name.isupper() and len(name) > 1


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _assigned(function: ast.FunctionDef, name: str) -> Iterator[ast.expr | object]:
    """Yield what a name is given in a function; an ellipsis where that cannot be told."""
    for node in ast.walk(function):
        if isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id == name:
                    if isinstance(node, ast.AnnAssign) and (
                        _is_markdown(node.annotation) or _is_number(node.annotation)
                    ):
                        yield ast.Constant(0) if _is_number(node.annotation) else node.value
                    else:
                        yield node.value
                elif isinstance(target, ast.Tuple):
                    yield from _of_tuple(target, node.value, name)
        elif isinstance(node, (ast.For, ast.comprehension)):
            if name in {n.id for n in ast.walk(node.target) if isinstance(n, ast.Name)}:
                yield from _of_loop(node.target, node.iter, name)
        elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            if node.optional_vars.id == name:
                yield ...


def _of_tuple(target: ast.Tuple, value: ast.expr | None, name: str) -> Iterator[ast.expr | object]:
    for place, item in enumerate(target.elts):
        if isinstance(item, ast.Name) and item.id == name:
            exact = isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts)
            yield value.elts[place] if exact else ...  # type: ignore[union-attr]


def _of_loop(target: ast.expr, over: ast.expr, name: str) -> Iterator[ast.expr | object]:
    called = _called(over) if isinstance(over, ast.Call) else ""
    if called == "range":
        yield ast.Constant(0)
    elif called == "enumerate" and isinstance(target, ast.Tuple) and isinstance(over, ast.Call):
        first = target.elts[0]
        counts = isinstance(first, ast.Name) and first.id == name
        yield ast.Constant(0) if counts else (over.args[0] if isinstance(target.elts[1], ast.Name) else ...)
    elif isinstance(target, ast.Name):
        yield over
    else:
        yield ...


def offences(sources: dict[str, str]) -> list[str]:
    """Return a line for everything that may reach Streamlit as Markdown and is none of ours.

    Args:
        sources: name and text of each module.
    """
    trees = {name: ast.parse(text) for name, text in sources.items()}
    known = _learn(trees)
    found: list[str] = []
    for name, tree in trees.items():
        reader = _Reader(name, known, draws="streamlit" in sources[name])
        reader.visit(tree)
        found += reader.found
    return found


def main() -> None:
    """Print the offences of the app and fail if there are any."""
    root = Path(__file__).resolve().parents[2]
    files = sorted((root / "app").rglob("*.py"))
    found = offences({str(p.relative_to(root)): p.read_text(encoding="utf-8") for p in files})
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
