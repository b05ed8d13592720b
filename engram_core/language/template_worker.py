"""The process that fills in chat templates (see `templating`): a template, then a line per prompt.

Run by its path, in isolation: it imports Jinja alone. The environment is that of transformers'
``apply_chat_template``, so that a prompt reads as it does there.
"""

from __future__ import annotations

import json
import sys
from datetime import datetime
from typing import Any

import jinja2
import jinja2.ext
import jinja2.nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

MOST_BYTES = 512 << 20
MOST_SECONDS = 60  # of computing for all prompts: the end of one whose parent was killed
MOST_TEXT = 1_000_000


class _Generation(jinja2.ext.Extension):
    """``{% generation %}`` marks what a model is trained on; here it marks nothing."""

    tags = {"generation"}

    def parse(self, parser: Any) -> Any:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_as_it_is"), [], [], body).set_lineno(line)

    def _as_it_is(self, caller: Any) -> str:
        return caller()


class _Dict:
    def __call__(self, *args: Any, **named: Any) -> dict[Any, Any]:
        return dict(*args, **named)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args)


class _Namespace(jinja2.utils.Namespace):
    """Without a way to what lies inside Python."""

    def __init__(*args: Any, **named: Any) -> None:
        self, rest = args[0], args[1:]
        values = dict(*rest, **named)
        for name in values:
            _check(name)
        jinja2.utils.Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)


def _check(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"no name may begin with an underscore; found {name!r}")


def _fail(message: Any) -> None:
    raise jinja2.exceptions.TemplateError(str(message))


def _json(value: Any, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


def compiled(template: str) -> jinja2.Template:
    """Return a template of transformers' kind.

    Args:
        template: source of a chat template.
    """
    found = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    found.filters["tojson"] = _json
    found.globals |= {
        "raise_exception": _fail,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return found.from_string(template)


def filled(template: jinja2.Template, variables: dict[str, Any]) -> str:
    """Return the text, ended as soon as it is longer than any prompt.

    Args:
        template: from `compiled`.
        variables: what it is filled with.

    Raises:
        Exception: whatever a template raises.
    """
    parts, length = [], 0
    for part in template.generate(**variables):
        length += len(part)
        if length > MOST_TEXT:
            raise ValueError(f"it writes more than {MOST_TEXT:,} characters")
        parts.append(part)
    return "".join(parts)


def main() -> None:
    """Answer every line of variables with a line: a text, or an error."""
    try:
        import resource
    except ImportError:  # a system without it has the parent's clock alone
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, template = json.loads(sys.stdin.readline()), None
    for line in sys.stdin:
        try:
            template = template or compiled(source)
            answer = {"text": filled(template, json.loads(line))}
        except MemoryError:
            answer = {"error": "it takes more memory than a prompt is worth"}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
