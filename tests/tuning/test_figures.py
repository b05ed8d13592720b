"""What an edit did, with every detail of the task."""

import numpy as np
import pandas as pd

import engram_core as ec
from engram_core.concepts.classification import Classification
from engram_core.concepts.tasks import Scores, Subject
from engram_core.tuning.recommend import recommend
from engram_core.tuning.sweep import frontier, sweep


def test_details_of_a_task_get_columns_and_a_loss_counts_upwards(subject: Subject, atlas: ec.Atlas) -> None:
    class Told(Classification):
        def measure(self, model, concepts, probes=None):
            plain = super().measure(model, concepts, probes)
            loss = {name: 1 - value for name, value in plain.score.items()}
            return Scores(plain.score, plain.says, {"nll": loss, "unseen": {"5": plain.score["5"]}})

    told = Subject(subject.model, subject.concepts, Told(subject.task.classes))
    found = sweep(told, atlas, concepts=["2", "5"], strengths=(0.5, 1.0), groups=["all"])
    np.testing.assert_allclose(found["lost_nll"], found["lost"])
    np.testing.assert_allclose(found["damage_nll"], found["damage"])
    np.testing.assert_allclose(found["forget_nll"], 1 - found["forget"])
    pd.testing.assert_frame_equal(frontier(found, measure="nll"), frontier(found))
    # Only one of the two has unseen questions: the mean is over that one.
    alone = sweep(subject, atlas, concepts=["5"], strengths=(0.5, 1.0), groups=["all"])
    np.testing.assert_allclose(found["forget_unseen"], alone["forget"])
    assert recommend(found, lost_at_least=0.1, measure="nll").figures["lost_nll"] >= 0.1
