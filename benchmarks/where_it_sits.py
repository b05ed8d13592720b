"""Where the memory sits: erase every class of a sample from one group of layers at a time.

Run ``python -m benchmarks.where_it_sits [SAMPLE]``; prints the Markdown table of docs/where-it-sits.md.
Accuracy on held-out inputs, no timings, so the load of the machine does not matter.
"""

from __future__ import annotations

import sys

import engram_core as ec

GROUPS = {
    "fashion-cnn": {
        "all": None,
        "conv1 + conv2": ["conv1", "conv2"],
        "fc1 + fc2": ["fc1", "fc2"],
        "conv1": ["conv1"],
        "conv2": ["conv2"],
        "fc1": ["fc1"],
        "fc2": ["fc2"],
    },
    "digits-mlp": {"all": None, "fc1": ["fc1"], "fc2": ["fc2"], "fc3": ["fc3"]},
}
EDITS = {
    "plain, α = 1": (1.0, False, 1.0),
    "plain, α = 0.6": (1.0, False, 0.6),
    "plain, α = 1.5": (1.0, False, 1.5),
    "min(1, 4 μ²)": (2.0, True, 4.0),
    "2 μ²": (2.0, False, 2.0),
}


def main() -> None:
    name = sys.argv[1] if len(sys.argv) > 1 else "fashion-cnn"
    sample = ec.load_sample(name)
    atlas = ec.extract(sample.model, ec.record(sample.model, sample.concepts))
    print("| edit | layers | erased class, mean | worst | others, mean loss | worst loss (erased → hurt) |")
    print("|---|---|---|---|---|---|")
    for edit, (power, clip, strength) in EDITS.items():
        sharp = atlas.sharpen(power, clip=clip)
        for group, layers in GROUPS[name].items():
            table = ec.necessity(sample, sharp, strength=strength, layers=layers, controls=0)
            own = table[table.concept == table.probe]
            other = table[table.concept != table.probe]
            worst = other.loc[other.delta.idxmin()]
            print(
                f"| {edit} | {group} | {own.score.mean():.3f} | {own.score.max():.2f} | "
                f"{-other.delta.mean():+.4f} | {-worst.delta:.2f} ({worst.concept} → {worst.probe}) |",
                flush=True,
            )
    print("\n| isolated, plain | layers | own class, mean | answered on other classes' inputs |")
    print("|---|---|---|---|")
    for null in ("nothing", "in place"):
        for group, layers in GROUPS[name].items():
            table = ec.sufficiency(sample, atlas, null=null, layers=layers, controls=0)
            own = table[table.concept == table.probe]
            other = table[table.concept != table.probe]
            print(
                f"| from zero weights | {group} " if null == "nothing" else f"| others subtracted | {group} ",
                f"| {own.score.mean():.3f} | {other.says.mean():.3f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
