"""Model classes beside causal language models: recorded and erased, asked what they can answer."""

import pytest
import torch
import transformers as hf
from language_helpers import Slow, byte_tokenizer, little_texts, merging_tokenizer, tiny

import engram_core as ec
from engram_core.errors import DataError
from engram_core.language import LanguageConcepts, Recall, TextSet, recall

_SHAPE = {
    "vocab_size": 300, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 40, "max_position_embeddings": 96, "initializer_range": 0.2,
}  # fmt: skip
CLASSES = {
    "masked": lambda: hf.BertForMaskedLM(hf.BertConfig(**_SHAPE)),
    "decoder with a head of two layers": lambda: hf.BertLMHeadModel(hf.BertConfig(**_SHAPE, is_decoder=True)),
    "no head": lambda: hf.BertModel(hf.BertConfig(**_SHAPE)),
    "classifier": lambda: hf.BertForSequenceClassification(hf.BertConfig(**_SHAPE)),
    "llama": lambda: hf.LlamaForCausalLM(hf.LlamaConfig(**_SHAPE, tie_word_embeddings=True)),
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
