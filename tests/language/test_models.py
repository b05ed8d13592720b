"""Model classes beside causal language models: recorded and erased, asked what they can answer."""

from types import SimpleNamespace

import pytest
import torch
import transformers as hf
from language_helpers import SHAPE, Slow, byte_tokenizer, little_texts, made, merging_tokenizer, tiny

import engram_core as ec
from engram_core.errors import DataError
from engram_core.language import (
    LanguageConcepts,
    Recall,
    TextSet,
    complete,
    damage,
    degenerate_rate,
    generate,
    next_tokens,
    perplexity,
    recall,
    side_by_side,
    token_changes,
)
from engram_core.language.continuing import check_continues_text

CLASSES = {
    "masked": lambda: hf.BertForMaskedLM(hf.BertConfig(**SHAPE)),
    "decoder with a head of two layers": lambda: hf.BertLMHeadModel(hf.BertConfig(**SHAPE, is_decoder=True)),
    "no head": lambda: hf.BertModel(hf.BertConfig(**SHAPE)),
    "classifier": lambda: hf.BertForSequenceClassification(hf.BertConfig(**SHAPE)),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**SHAPE, tie_word_embeddings=True)),
}


@pytest.mark.parametrize("make", CLASSES.values(), ids=CLASSES.keys())
def test_every_layer_of_every_class_reads_every_token(make) -> None:
    torch.manual_seed(0)
    model, tokenizer = make().eval(), byte_tokenizer()
    texts = TextSet.of([{"concept": c, "text": c * n} for c, n in (("ab", 3), ("c", 9))])
    recording = ec.record(model, LanguageConcepts(tokenizer, texts))
    pooled = {"bert.pooler.dense", "pooler.dense", "classifier"}
    for layer in recording.source_of:
        assert recording.rows(layer, "c") == (1 if layer in pooled else 9), layer
    view = ec.extract(model, recording).apply(erase="c")
    assert view.engram_edit.report().relative > 0


@pytest.mark.parametrize("slow", [False, True])
def test_a_prompt_that_ends_inside_a_token_of_the_answer_is_refused_by_its_row(slow: bool) -> None:
    fast = merging_tokenizer()
    tokenizer = Slow(fast) if slow else fast
    rows = [
        {"concept": "sky", "prompt": "Up is", "answer": "red"},
        {"concept": "sky", "prompt": "The sky is", "answer": "blue"},
    ]
    texts, model = TextSet.of(rows), tiny("llama")
    with pytest.raises(
        DataError, match=r"Concept 'sky', record 2: the prompt 'The sky is' ends inside a token"
    ):
        recall(model, tokenizer, texts)
    with pytest.raises(DataError, match="record 2"):
        Recall(tokenizer, texts).measure(model, texts)
    assert len(recall(model, tokenizer, TextSet.of(rows[:1]))) == 1


def test_questions_of_ordinary_tokens_are_asked() -> None:
    table = recall(tiny("llama"), byte_tokenizer(), little_texts())
    assert len(table) == 4 and table["nll"].notna().all()


# -- who continues a text, and who does not ------------------------------------------------------------

_T5 = dict(vocab_size=300, d_model=24, d_kv=12, d_ff=40, num_layers=1, num_heads=2)
_BART = dict(
    vocab_size=300, d_model=24, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
    decoder_attention_heads=2, encoder_ffn_dim=40, decoder_ffn_dim=40, max_position_embeddings=96,
)  # fmt: skip
_GPT2 = dict(vocab_size=300, n_embd=24, n_layer=1, n_head=2, n_positions=64)
_GAPS, _LOGITS = "rests on those that come later", "has no logits"
REFUSED = {
    "BERT": (CLASSES["masked"], _GAPS),
    "RoBERTa": (lambda: hf.RobertaForMaskedLM(hf.RobertaConfig(**SHAPE)), _GAPS),
    "ELECTRA": (lambda: hf.ElectraForMaskedLM(hf.ElectraConfig(**SHAPE, embedding_size=24)), _GAPS),
    "DeBERTa": (lambda: hf.DebertaV2ForMaskedLM(hf.DebertaV2Config(**SHAPE)), _GAPS),
    "XLNet": (
        lambda: hf.XLNetLMHeadModel(
            hf.XLNetConfig(vocab_size=300, d_model=24, n_layer=1, n_head=2, d_inner=40)
        ),
        _GAPS,
    ),
    "a head for text, both ways": (lambda: hf.BertLMHeadModel(hf.BertConfig(**SHAPE)), "is_decoder=False"),
    "a masked one that reads one way": (
        lambda: hf.BertForMaskedLM(hf.BertConfig(**SHAPE, is_decoder=True)),
        "writes no text",
    ),
    "no head": (CLASSES["no head"], _LOGITS),
    "no head, one way": (lambda: hf.GPT2Model(hf.GPT2Config(**_GPT2)), _LOGITS),
    "classifier": (CLASSES["classifier"], "logits of shape (3, 2) to 3 texts of 4 tokens"),
    "classifier, one way": (
        lambda: hf.GPT2ForSequenceClassification(hf.GPT2Config(**_GPT2)),
        "writes no text",
    ),
    "classifier of tokens, one way": (
        lambda: hf.GPT2ForTokenClassification(hf.GPT2Config(**_GPT2)),
        "writes no text",
    ),
    "answers to questions": (lambda: hf.BertForQuestionAnswering(hf.BertConfig(**SHAPE)), _LOGITS),
    "T5": (lambda: hf.T5ForConditionalGeneration(hf.T5Config(**_T5)), "with an encoder"),
    "BART": (lambda: hf.BartForConditionalGeneration(hf.BartConfig(**_BART)), "with an encoder"),
    "pictures": (
        lambda: hf.ViTForImageClassification(
            hf.ViTConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, intermediate_size=40,
                         image_size=8, patch_size=4)
        ),
        "does not continue a text",
    ),
    "a layer": (lambda: torch.nn.Linear(3, 3), "TypeError"),
}  # fmt: skip
CONTINUING = {
    "BERT as a decoder": CLASSES["decoder with a head of two layers"],
    "RoBERTa as a decoder": lambda: hf.RobertaForCausalLM(hf.RobertaConfig(**SHAPE, is_decoder=True)),
    "BART's decoder": lambda: hf.BartForCausalLM(hf.BartConfig(**_BART)),
    "two heads": lambda: hf.GPT2DoubleHeadsModel(hf.GPT2Config(**_GPT2)),
    "in half precision": lambda: tiny("llama").bfloat16(),
    "experts": lambda: tiny("mixtral"),
}


@pytest.mark.parametrize("make, why", REFUSED.values(), ids=REFUSED.keys())
def test_a_model_that_does_not_continue_texts_is_told_by_its_class_and_why(make, why: str) -> None:
    model = made(make)
    with pytest.raises(DataError) as caught:
        check_continues_text(model)
    said = str(caught.value)
    assert said.startswith(f"{type(model).__name__} does not continue a text: ") and why in said
    assert "can be recorded" in said and "causal language model" in said and "\n" not in said


@pytest.mark.parametrize("make", CONTINUING.values(), ids=CONTINUING.keys())
def test_whoever_continues_texts_is_asked(make) -> None:
    model = made(make)
    check_continues_text(model)
    assert next_tokens(model, model, byte_tokenizer(), "The sky is")["change"].abs().max() == 0


def test_all_that_reads_or_writes_a_continuation_refuses_and_recording_goes_on() -> None:
    model, tokenizer, texts = made(CLASSES["masked"]), byte_tokenizer(), little_texts()
    concepts = LanguageConcepts(tokenizer, texts)
    view = ec.extract(model, ec.record(model, concepts)).apply(erase="sky")
    task = Recall(tokenizer, texts)
    asked = {
        "recall": lambda: recall(model, tokenizer, texts),
        "recall of a view": lambda: recall(view, tokenizer, texts),
        "measure": lambda: task.measure(model, concepts, ["sky"]),
        "table": lambda: task.table(view, concepts, ["sky"]),
        "perplexity": lambda: perplexity(model, tokenizer, texts.background),
        "next": lambda: next_tokens(model, view, tokenizer, "The sky is"),
        "changes": lambda: token_changes(model, view, tokenizer, "The sky is blue"),
        "generate": lambda: generate(model, tokenizer, "The sky is"),
        "side by side": lambda: side_by_side(model, view, tokenizer, "The sky is"),
        "complete": lambda: complete(model, tokenizer, ["The sky is"]),
        "degenerate": lambda: degenerate_rate(model, tokenizer, ["The sky is"]),
        "damage": lambda: damage(model, view, tokenizer, texts),
    }
    for name, ask in asked.items():
        with pytest.raises(DataError, match="^BertForMaskedLM does not continue a text"):
            ask()
            pytest.fail(name)
    found = ec.check_up(model, concepts)
    assert found.ok and any("BertForMaskedLM does not continue a text" in note for note in found.notes)
    assert not any("continue a text" in note for note in ec.check_up(tiny("llama"), concepts).notes)


def test_the_same_weights_may_fill_gaps_or_continue() -> None:
    model = made(CLASSES["masked"])
    with pytest.raises(DataError):
        check_continues_text(model)
    decoder = made(lambda: hf.BertLMHeadModel(hf.BertConfig(**SHAPE, is_decoder=True)))
    decoder.load_state_dict(model.state_dict())
    check_continues_text(decoder)


class Own(torch.nn.Module):
    """Somebody's model without any config; the answer is what `form` makes of the logits."""

    def __init__(self, form, *, both_ways: bool = False) -> None:
        super().__init__()
        self.table, self.head, self.form = torch.nn.Embedding(300, 8), torch.nn.Linear(8, 300), form
        self.both_ways = both_ways

    def forward(self, input_ids, attention_mask=None):
        hidden = self.table(input_ids)
        heard = hidden.cumsum(1) + (hidden.mean(1, keepdim=True) if self.both_ways else 0)
        return self.form(self.head(heard))


def test_a_model_of_somebody_elses_is_judged_by_what_it_does() -> None:
    texts, tokenizer = little_texts(), byte_tokenizer()
    causal = made(lambda: Own(lambda logits: SimpleNamespace(logits=logits)))
    assert len(recall(causal, tokenizer, texts)) == 4
    assert len(list(generate(causal, tokenizer, "The sky", max_new_tokens=3))) == 3
    # Numbers that can never come are no difference, and what draws numbers is no reader of the future.
    closed = made(lambda: Own(lambda x: SimpleNamespace(logits=x.index_fill(2, torch.arange(3), -torch.inf))))
    check_continues_text(closed)
    drawn = made(lambda: Own(lambda x: SimpleNamespace(logits=x + 0.1 * torch.rand_like(x))))
    check_continues_text(drawn)
    forms = {
        "a Tensor, has no logits": lambda x: x,
        "a tuple, has no logits": lambda x: (x,),
        r"of shape \(3, 300\)": lambda x: SimpleNamespace(logits=x[:, -1]),
        r"of shape \(3, 2, 300\)": lambda x: SimpleNamespace(logits=x[:, ::2]),
    }
    for told, form in forms.items():
        with pytest.raises(DataError, match=f"^Own does not continue a text: .*{told}"):
            perplexity(made(lambda form=form: Own(form)), tokenizer, texts.background)
    with pytest.raises(DataError, match="come later"):
        recall(made(lambda: Own(lambda x: SimpleNamespace(logits=x), both_ways=True)), tokenizer, texts)


def test_what_shows_only_in_a_longer_text_is_a_sentence_too() -> None:
    texts, tokenizer = little_texts(), byte_tokenizer()
    short = made(lambda: Own(lambda x: SimpleNamespace(logits=x[:, :4])))
    few = made(lambda: Own(lambda x: SimpleNamespace(logits=x[..., :5])))
    for model, told in (
        (short, r"Own answers logits of shape .* expected \(.*, vocabulary\)"),
        (few, "Own answers 5 numbers after every token, and this text has token number"),
    ):
        for ask in (
            lambda model=model: recall(model, tokenizer, texts),
            lambda model=model: perplexity(model, tokenizer, texts.background),
            lambda model=model: token_changes(model, model, tokenizer, "The sky is"),
        ):
            with pytest.raises(DataError, match=told):
                ask()
    for write in (
        lambda: list(generate(short, tokenizer, "The sky")),
        lambda: complete(short, tokenizer, ["The sky"]),
        lambda: next_tokens(short, short, tokenizer, "The sky"),
    ):
        with pytest.raises(DataError, match="expected"):
            write()


@pytest.mark.parametrize("kind", ["Roberta", "Camembert", "XLMRoberta"])
def test_positions_that_are_counted_from_behind_the_padding_leave_less_room(kind: str) -> None:
    model = made(lambda: getattr(hf, f"{kind}ForMaskedLM")(getattr(hf, f"{kind}Config")(**SHAPE)))
    longest = model.config.max_position_embeddings - model.config.pad_token_id - 1
    assert longest == 94

    def record(length: int) -> ec.Recording:
        texts = TextSet.of([{"concept": "a", "text": "x" * length}, {"concept": "b", "text": "yy"}])
        return ec.record(model, LanguageConcepts(byte_tokenizer(), texts))

    assert record(longest).counts == {"a": 1, "b": 1}
    with pytest.raises(DataError, match=f"has {longest + 1} tokens, and this model takes at most {longest}"):
        record(longest + 1)
