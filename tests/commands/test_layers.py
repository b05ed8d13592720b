"""`engram layers` says which layers hold memory and why the others do not."""


def test_layers(engram) -> None:
    told = engram("layers", "fashion-cnn", "--json").json
    rows = {row["name"]: row for row in told["layers"]}
    assert told["model"] == "fashion-cnn"
    assert all(
        set(row) == {"name", "kind", "width", "outputs", "covered", "reason"} for row in told["layers"]
    )
    assert rows["fc2"]["covered"] and not rows["bn1"]["covered"] and "normalisation" in rows["bn1"]["reason"]
    table = engram("layers", "fashion-cnn").out
    assert "conv1" in table and "bn1" in table
