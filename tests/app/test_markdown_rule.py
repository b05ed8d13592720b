"""The rule that finds what goes round `plain`: nothing in the app breaks it, and it finds what it should."""

from pathlib import Path

import pytest
from markdown_rule import offences

ROOT = Path(__file__).resolve().parents[2]
HEAD = (
    "import streamlit as st\nfrom app.figures.words.as_text import Markdown, filled, plain\n"
    "HOW = {'a': '**b**'}\n"
)


def found(body: str) -> list[str]:
    texts = (ROOT / "app" / "figures" / "words" / "as_text.py").read_text("utf-8")
    return offences({"app/figures/words/as_text.py": texts, "x.py": HEAD + body})


def test_streamlit_gets_no_markdown_but_ours():
    files = sorted((ROOT / "app").rglob("*.py"))
    assert len(files) > 50
    assert offences({str(p.relative_to(ROOT)): p.read_text("utf-8") for p in files}) == []


@pytest.mark.parametrize(
    "body",
    [
        "def f(name): st.caption(name)",
        "def f(name): st.caption(f'of {name}')",
        "def f(name): st.caption(f'of {name!r:>5}')",
        "def f(name): st.markdown('**' + name + '**')",
        "def f(error): st.warning(str(error))",
        "def f(names): st.pills('Concepts', names)",
        "def f(names): st.radio('Concepts', names, format_func=str)",
        "def f(names): st.radio('Concepts', names, format_func=lambda n: n.title())",
        "def f(names): st.tabs([n for n in names])",
        "def f(name): st.button('x', help=name)",
        "def f(name):\n    text = 'a'\n    text += name\n    st.info(text)",
        "def f(names):\n    for name in names:\n        st.write(name)",
        "def f(place, name): place.progress(0.5, text=name)",
        "def f(name) -> Markdown: return name",
        "def g(text: Markdown): st.caption(text)\ndef f(name): g(name)",
        "class A:\n    how: Markdown\ndef f(name): A(name)",
        "class A:\n    how: Markdown\ndef f(other): st.caption(other.how)",
        "def f(name): st.image('x.png', caption=name)",
        "def f(name): st.expander(name)",
        "def f(name): st.metric('a', 1, delta=name)",
        "def f(name): st.markdown(filled(name))",
        "class A:\n    say: Callable[[int], Markdown]\ndef f(n): return str(n)\nA(say=f)",
    ],
)  # fmt: skip
def test_what_goes_round_is_found(body):
    assert found(body)


@pytest.mark.parametrize(
    "body",
    [
        "def f(name): st.caption(plain(name))",
        "def f(name): st.caption(f'{plain(name)}: {3.0:.1f}, {len(name)} signs')",
        "def f(name): st.caption(filled('**{}**', name))",
        "def f(names): st.pills('Concepts', names, format_func=plain)",
        "def f(count: int): st.caption(f'{count} of them')",
        "def f(ok): st.markdown(HOW['a'] if ok else 'no')",
        "def f(ok):\n    text = 'a' if ok else HOW['a']\n    st.info(text)",
        "def f():\n    for i in range(3):\n        st.button(f'Step {i}')",
        "def g(text: Markdown): st.caption(text)\ndef f(): g('**ours**')",
        "class Part:\n    how: Markdown\ndef f(part): st.caption(part.how)",
        "def f(names): st.caption(', '.join(plain(n) for n in names))",
        "def f(names): st.multiselect('Concepts', names)",
        "class A:\n    say: Callable[[int], Markdown]\ndef f(n: int) -> Markdown: return f'{n}'\n"
        "def g(a): st.caption(a.say(3))\nA(say=f)",
    ],
)
def test_what_is_ours_is_left_alone(body):
    assert found(body) == []
