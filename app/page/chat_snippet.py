"""Python that holds the conversation again that a page shows."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["chat_code"]


def chat_code(said: Sequence[str], *, max_new_tokens: int, temperature: float, seed: int) -> str:
    """Return the lines that hold a conversation with both models."""
    options = f"max_new_tokens={max_new_tokens}, temperature={temperature:g}, seed={seed}"
    return "\n".join(
        [
            "import pandas as pd",
            "from engram_core.language import generate",
            "",
            f"said = {list(said)!r}",
            'table = pd.DataFrame({"number": range(1, len(said) + 1), "prompt": said})',
            'for kind, m in {"base": sample.model, "edited": edited}.items():',
            "    before = []",
            "    for text in said:",
            "        tokens = generate(",
            f"            m, sample.task.tokenizer, text, chat=True, before=before, {options}",
            "        )",
            '        before.append((text, "".join(t.text for t in tokens)))',
            "    table[kind] = [answer for _, answer in before]",
        ]
    )
