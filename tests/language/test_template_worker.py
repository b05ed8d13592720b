"""The process that fills in chat templates: one line per prompt, what transformers would write, in bounds."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import jinja2
import pytest

from engram_core.language import template_worker
from engram_core.language.template_worker import MOST_TEXT, compiled, filled


def answers(monkeypatch: pytest.MonkeyPatch, template: str, *prompts: Any) -> list[dict[str, str]]:
    """Run the process's main here, without its limits."""
    limits: list[tuple[int, tuple[int, int]]] = []
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "setrlimit", lambda which, most: limits.append((which, most)))
    lines = [json.dumps(template), *(p if isinstance(p, str) else json.dumps(p) for p in prompts)]
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(lines) + "\n"))
    monkeypatch.setattr(sys, "stdout", out := io.StringIO())
    template_worker.main()
    assert dict(limits) == {
        resource.RLIMIT_AS: (512 << 20, 512 << 20), resource.RLIMIT_CPU: (60, 60),
        resource.RLIMIT_CORE: (0, 0),
    }  # fmt: skip
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_line_of_variables_is_answered_with_a_line(monkeypatch) -> None:
    found = answers(monkeypatch, "{{ bos }}{{ text }}", {"bos": "<s>", "text": "a"}, {"text": "ä\n"})
    assert found == [{"text": "<s>a"}, {"text": "ä\n"}]


def test_an_error_is_an_answer_and_the_next_prompt_is_read(monkeypatch) -> None:
    found = answers(monkeypatch, "{{ raise_exception('no ' ~ what) if what else 'fine' }}",
                    {"what": "system"}, "no JSON", {"what": ""})  # fmt: skip
    assert found[0] == {"error": "TemplateError: no system"}
    assert found[1]["error"].startswith("JSONDecodeError: ") and found[2] == {"text": "fine"}


def test_a_template_that_is_none_is_an_error_of_every_prompt(monkeypatch) -> None:
    found = answers(monkeypatch, "{% for %}", {}, {})
    assert all(one["error"].startswith("TemplateSyntaxError: ") for one in found) and len(found) == 2


def test_memory_that_ends_is_said(monkeypatch) -> None:
    def full(*_args: Any) -> str:
        raise MemoryError

    monkeypatch.setattr(template_worker, "filled", full)
    assert answers(monkeypatch, "x", {}) == [{"error": "it takes more memory than a prompt is worth"}]


def test_a_long_error_is_cut(monkeypatch) -> None:
    (found,) = answers(monkeypatch, "{{ raise_exception('x' * 9999) }}", {})
    assert found["error"] == "TemplateError: " + "x" * 500


def test_a_text_without_end_is_ended_where_no_prompt_is_as_long() -> None:
    endless = compiled("{% for i in range(99999) %}{{ 'a' * 100 }}{% endfor %}")
    with pytest.raises(ValueError, match="more than 1,000,000 characters"):
        filled(endless, {})
    longest = compiled("{{ 'a' * n }}")
    assert len(filled(longest, {"n": MOST_TEXT})) == MOST_TEXT
    with pytest.raises(ValueError, match="more than"):
        filled(longest, {"n": MOST_TEXT + 1})


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{% generation %}{{ a }}{% endgeneration %}", "1"),
        ("{{ dict(a=1)['a'] }}{{ dict.fromkeys(['x'])|length }}", "11"),
        ("{% set n = namespace(a=1) %}{% set n.a = 2 %}{{ n.a }}", "2"),
        ("{{ {'ä': 1}|tojson }}", '{"ä": 1}'),
        ("{{ {'a': 1}|tojson(indent=1) }}", '{\n "a": 1\n}'),
        ("{% for i in range(9) %}{% if i > 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "012"),
        ("{% if true %}\n  a\n  {% endif %}\nb", "  a\nb"),
        ("{{ strftime_now('%%') }}", "%"),
    ],
)
def test_templates_have_what_transformers_gives_them(template: str, text: str) -> None:
    assert filled(compiled(template), {"a": 1}) == text


@pytest.mark.parametrize(
    "template",
    [
        "{{ namespace(__class__=1) }}",
        "{% set n = namespace() %}{% set n._x = 1 %}",
        "{{ dict.__init__.__globals__ }}",
        "{{ a.append(1) }}",
    ],
)
def test_no_way_leads_out_of_a_template(template: str) -> None:
    with pytest.raises((jinja2.exceptions.SecurityError, jinja2.exceptions.UndefinedError)):
        filled(compiled(template), {"a": []})
