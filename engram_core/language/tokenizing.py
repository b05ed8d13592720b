"""Ask a tokenizer, in one place: what a foreign folder can make it do ends in a sentence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import DataError
from ..libraries import first_line, foreign_errors
from .templating import render
from .text_rows import lone_surrogate

__all__ = ["check_rows", "framed", "spelled", "tokenized"]


_MOST_EACH = 64  # tokens of a character: as many as its name has bytes, and some


def tokenized(tokenizer: Any, text: str, *, special: bool, offsets: bool = False) -> dict[str, Any]:
    """Return the tokens of a text: ``input_ids``, and with `offsets` ``offset_mapping``.

    Args:
        tokenizer: a Hugging Face tokenizer.
        text: any text.
        special: whether special tokens are added.
        offsets: whether places in the text are wanted.

    Raises:
        DataError: the tokenizer failed; a fast one may end in a panic, which is no `Exception`.
    """
    options = {"return_offsets_mapping": True} if offsets else {}
    try:
        found = dict(tokenizer(text, add_special_tokens=special, **options))
    except BaseException as error:
        if not foreign_errors(error):
            raise
        broken = lone_surrogate(text)
        if broken is not None:
            raise DataError(
                f"The text {_short(text)!r} holds half a character at position {broken + 1} (a lone "
                "surrogate), which no tokenizer reads. Is the terminal set to UTF-8?"
            ) from None
        raise DataError(
            f"This model's tokenizer fails on the text {_short(text)!r} ({first_line(error, 160)}). Its "
            "files are damaged, or made to fail."
        ) from None
    if len(found["input_ids"]) > _MOST_EACH * len(text) + 1024:
        count = len(found["input_ids"])
        raise DataError(
            f"This model's tokenizer makes {count:,} tokens of the {len(text):,} characters of "
            f"{_short(text)!r}. Its files are damaged, or made to fill the memory."
        )
    return found


def spelled(tokenizer: Any, ids: list[int], *, skip_special_tokens: bool) -> str:
    """Return the text of tokens, without clean-up.

    Args:
        tokenizer: a Hugging Face tokenizer.
        ids: the tokens.
        skip_special_tokens: whether special ones are left out.

    Raises:
        DataError: the tokenizer failed.
    """
    try:
        return tokenizer.decode(
            ids, skip_special_tokens=skip_special_tokens, clean_up_tokenization_spaces=False
        )
    except BaseException as error:
        if not foreign_errors(error):
            raise
        raise DataError(
            f"This model's tokenizer fails to write its own tokens ({first_line(error, 160)}). Its files are "
            "damaged, or made to fail."
        ) from None


def framed(tokenizer: Any, prompt: str, before: Iterable[tuple[str, str]] = ()) -> str:
    """Return a prompt in the tokenizer's chat template, ready for the answer.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompt: what the user says.
        before: what was said before in this conversation, as (user, assistant).

    Raises:
        DataError: the template failed, or took more than a prompt is worth.
    """
    messages = [
        {"role": role, "content": text}
        for turn in before
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]
    messages.append({"role": "user", "content": prompt})
    try:
        template = getattr(tokenizer, "get_chat_template", lambda: tokenizer.chat_template)()
        special = {name: str(token) for name, token in getattr(tokenizer, "special_tokens_map", {}).items()}
        if not isinstance(template, str):
            raise TypeError("it is no text")
    except BaseException as error:
        if not foreign_errors(error):
            raise
        raise DataError(f"This model's chat template cannot be used ({first_line(error, 160)}).") from None
    given = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": True}
    return render(template, given | special)


def check_rows(tokenizer: Any, ids: list[int], rows: int | None, where: str = "") -> None:
    """Refuse tokens that the model has no embedding row for.

    Args:
        tokenizer: that gave them.
        ids: the tokens of one text.
        rows: see `embedding_rows`; None checks nothing.
        where: what the text is of, as the beginning of a sentence.

    Raises:
        DataError: naming the first of them.
    """
    wrong = next((number for number in ids if rows is not None and not 0 <= number < rows), None)
    if wrong is not None:
        raise DataError(
            f"{where}the text holds the token {tokenizer.convert_ids_to_tokens(wrong)!r} (number {wrong}), "
            f"and this model has rows for {rows} tokens only. Leave it out of the text."
        )


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "…"
