"""`engram layers`: every layer of a model, covered or why not."""

from __future__ import annotations

from ..models.layers import list_layers
from .options import AsJson, ModelName
from .printing import print_json
from .subject import open_model
from .tables import print_table

__all__ = ["layers"]


def layers(model: ModelName, as_json: AsJson = False) -> None:
    """List every layer of a model: covered, or why not."""
    infos = list_layers(open_model(model))
    if as_json:
        print_json({"model": model, "layers": [vars(info) for info in infos]})
        return
    print_table(
        f"Layers of {model}",
        ["layer", "kind", "width", "outputs", "covered", "reason"],
        [
            [i.name, i.kind, i.width or "", i.outputs or "", "yes" if i.covered else "no", i.reason]
            for i in infos
        ],
        caption="width: columns of the layer's input rows, with the bias column",
    )
