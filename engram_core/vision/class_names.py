"""Names of classes: checked against the outputs of a model, and found for folders of pictures."""

from __future__ import annotations

from pathlib import Path

from ..errors import DataError, StorageError, suggest

__all__ = ["check_class_names", "match_classes"]


def check_class_names(names: tuple[str, ...], outputs: int, where: Path) -> None:
    """Raise a StorageError unless there is one name for every output, and no name twice."""
    if len(names) != outputs or len(set(names)) != outputs:
        raise StorageError(
            f"{where} has {outputs} outputs, and {len(set(names))} different class names were found."
        )


def match_classes(folders: list[str], classes: tuple[str, ...]) -> dict[str, str]:
    """Return the model's class for every folder."""
    known: dict[str, set[str]] = {}
    for number, label in enumerate(classes):
        for name in {label, *label.split(","), str(number)}:
            known.setdefault(name.strip().casefold(), set()).add(label)
    matched: dict[str, str] = {}
    problems = []
    for folder in folders:
        hits = {folder} if folder in classes else known.get(folder.strip().casefold(), set())
        if not hits:
            problems.append(str(suggest("class", folder, classes)))
        elif len(hits) > 1:
            problems.append(f"Class folder {folder!r} could be {' or '.join(map(repr, sorted(hits)))}.")
        elif next(iter(hits)) in matched.values():
            problems.append(f"Class folder {folder!r} is a second one for {next(iter(hits))!r}.")
        else:
            matched[folder] = next(iter(hits))
    if problems:
        more = f"\n… and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise DataError(
            f"{len(problems)} of {len(folders)} class folders are no output of this model:\n"
            + "\n".join(problems[:20]) + more
        )  # fmt: skip
    return matched
