"""What the criteria show on the shipped, really trained samples (docs/science.md section 6)."""

import pandas as pd
import pytest

import engram_core as ec
from engram_core.measuring.shams import subset_atlas

CONVOLUTIONS, LINEAR = ["conv1", "conv2"], ["fc1", "fc2"]


@pytest.fixture(scope="session")
def digits_mlp() -> tuple[ec.Sample, ec.Atlas]:
    sample = ec.load_sample("digits-mlp")
    return sample, ec.extract(sample.model, ec.record(sample.model, sample.concepts))


@pytest.fixture(scope="session")
def fashion_cnn() -> tuple[ec.Sample, ec.Atlas]:
    sample = ec.load_sample("fashion-cnn")
    return sample, ec.extract(sample.model, ec.record(sample.model, sample.concepts))


def own(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["concept"] == table["probe"]]


def others_loss(table: pd.DataFrame) -> float:
    return float(-table[table["concept"] != table["probe"]]["delta"].mean())


# -- digits ------------------------------------------------------------------------------------------


def test_an_erased_digit_is_gone_and_the_others_stay(digits_mlp) -> None:
    table = ec.necessity(*digits_mlp, controls=0)
    assert own(table)["score"].mean() <= 0.10
    assert others_loss(table) <= 0.03


def test_a_digit_kept_alone_is_still_known(digits_mlp) -> None:
    kept = ec.sufficiency(*digits_mlp, controls=0)
    assert own(kept)["score"].mean() >= 0.90


def test_a_random_subset_of_the_data_takes_no_digit_away(digits_mlp) -> None:
    table = ec.necessity(*digits_mlp, controls=3)
    assert own(table)["subset"].min() > 0.8
    assert (own(table)["subset_p"] == 1 / 4).all()  # no sham reaches the effect, for any digit


def test_noise_of_the_same_norm_takes_the_other_digits_along(digits_mlp) -> None:
    table = ec.necessity(*digits_mlp, controls=3)
    others = table["concept"] != table["probe"]
    assert (table["score"] - table["gaussian"])[others].mean() > 0.4


def test_an_engram_answers_its_own_digit_more_than_any_other_in_every_layer(digits_mlp) -> None:
    table = ec.specificity(*digits_mlp, controls=0)
    for (_, concept), rows in table.groupby(["layer", "concept"]):
        assert rows.loc[rows["value"].idxmax(), "probe"] == concept


def test_the_whole_is_the_sum_of_its_subsets(digits_mlp) -> None:
    """All recorded digits as one random subset: erasing it leaves nothing but a constant answer."""
    sample, atlas = digits_mlp
    size = sum(atlas.counts.values())
    everything = subset_atlas(atlas, sample.concepts, size=size, seeds=[0])
    scores = sample.task.measure(everything.apply(erase="subset 0"), sample.concepts)
    assert sorted(scores.score.values()) == [0.0] * 9 + [1.0]


# -- fashion -----------------------------------------------------------------------------------------


def test_recorded_accuracy_is_what_the_metrics_say(digits_mlp, fashion_cnn) -> None:
    for sample, _ in (digits_mlp, fashion_cnn):
        scores = sample.task.measure(sample.model, sample.concepts).score
        assert scores == pytest.approx(sample.metrics["held_out"]["per_class"], abs=1e-3)


def test_an_erased_garment_is_gone_and_the_others_stay(fashion_cnn) -> None:
    table = ec.necessity(*fashion_cnn, controls=0)
    assert own(table)["score"].mean() <= 0.10
    assert others_loss(table) <= 0.02


def test_the_memory_of_a_garment_sits_in_the_linear_layers(fashion_cnn) -> None:
    sample, atlas = fashion_cnn
    some = list(sample.concepts)[:3]
    in_linear = ec.necessity(sample, atlas, concepts=some, layers=LINEAR, controls=0)
    in_convolutions = ec.necessity(sample, atlas, concepts=some, layers=CONVOLUTIONS, controls=0)
    assert own(in_linear)["score"].mean() <= 0.2
    assert own(in_convolutions)["score"].mean() > 0.5
