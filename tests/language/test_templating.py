"""A chat template gives what transformers gives, or a sentence, in bounded time and memory."""

from __future__ import annotations

import resource
import time

import pytest
from language_helpers import CHAT, byte_tokenizer

from engram_core.errors import DataError
from engram_core.language import generate, templating
from engram_core.language.templating import render
from engram_core.language.tokenizing import framed

SMOL = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are helpful<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
NEW = (
    "{{ bos_token }}{%- set ns = namespace(found=false) %}"
    "{% macro say(m) %}[{{ m.role | upper }}]{{ m.content | trim }}{% endmacro %}"
    "{% for m in messages %}{% if m.role == 'tool' %}{% continue %}{% endif %}{% set ns.found = true %}"
    "{% generation %}{{ say(m) }}{% endgeneration %}{{ m | tojson }}{% endfor %}"
    "{{ ns.found }}{{ tools is defined }}{{ tools is none }}"
)


@pytest.mark.parametrize("template", [CHAT, SMOL, NEW], ids=["plain", "smollm2", "new"])
@pytest.mark.parametrize("prompt", ["Hi", " spaces ", "{{ 7 * 7 }}", "東京\n\u2028'\"<b>"])
def test_a_prompt_reads_as_in_transformers(template: str, prompt: str) -> None:
    tokenizer = byte_tokenizer(ends=True)
    tokenizer.chat_template = template
    messages = [{"role": "user", "content": prompt}]
    wanted = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert framed(tokenizer, prompt) == wanted


HOSTILE = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "multiplies a text": "{{ 'a' * 8000000000 }}",
    "doubles a text": "{% set n = namespace(x='aaaaaaaa') %}"
    "{% for i in range(99) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "pads a text": "{{ 'a'.ljust(8000000000) }}",
    "formats a text": "{{ '%8000000000d' % 1 }}",
    "writes on and on": "{% for i in range(99999) %}{{ 'abcdefgh' * 999 }}{% endfor %}",
    "a power": "{{ 9 ** (9 ** 9) }}",
    "a large range": "{{ range(10 ** 9) | list }}",
    "calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "looks inside": "{{ ''.__class__.__mro__[1].__subclasses__() }}{{ messages.__init__.__globals__['x'] }}",
    "imports": "{% include '/etc/passwd' %}",
    "raises": "{{ raise_exception('[/INST] roles must alternate') }}",
    "is no template": "{% for %}",
    "is too long": "a" * 300_000,
    "nests": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep": "{% if 1 %}" * 3000,
}


def _most(of: int) -> int:
    """Return the most memory that a process, or those it started, have had."""
    return resource.getrusage(of).ru_maxrss


@pytest.mark.parametrize("template", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_template_ends_in_a_sentence(template: str, monkeypatch) -> None:
    monkeypatch.setattr(templating, "SECONDS", 2.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Of other tests, and of this process: a child begins with what its parent had.
    before_it = max(_most(resource.RUSAGE_CHILDREN), _most(resource.RUSAGE_SELF))
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = template
    start = time.perf_counter()
    with pytest.raises(DataError, match="chat template") as caught:
        framed(tokenizer, "Hi")
    assert time.perf_counter() - start < 15
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024  # kilobytes
    assert _most(resource.RUSAGE_CHILDREN) <= max(before_it, 2**20)


def test_a_process_answers_many_prompts_and_few_are_kept() -> None:
    for i in range(50):
        assert render("{{ a }}!", {"a": i}) == f"{i}!"
    for i in range(5):
        assert render(f"{{{{ a }}}}{i}", {"a": "x"}) == f"x{i}"
    assert len(templating._workers) <= templating._KEPT
    worker = next(iter(templating._workers.values()))
    worker.kill()
    worker.wait()
    template = next(iter(templating._workers))
    with pytest.raises(DataError, match="chat template"):
        render(template, {"a": "x"})
    assert render(template, {"a": "y"}).startswith("y")


def test_chat_with_a_hostile_template_is_refused_before_a_token_is_written() -> None:
    from language_helpers import tiny

    tokenizer = byte_tokenizer()
    tokenizer.chat_template = HOSTILE["pads a text"]
    with pytest.raises(DataError, match="chat template"):
        generate(tiny("llama"), tokenizer, "Hi", chat=True)
