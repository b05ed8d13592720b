"""Tests stand where what they test stands: every module has its file, or says which one tests it."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parent
CORE = TESTS.parent / "engram_core"

# Modules that were split off another one and are tested through it, in its file.
TESTED_THROUGH = {
    "atlas": "editing/test_live_edit",
    "commands/sweep_options": "commands/test_sweep",
    "concepts/batch": "concepts/test_inputs",
    "concepts/mixing": "concepts/test_batches",
    "concepts/row_axes": "concepts/test_batch_axis",
    "concepts/sample": "concepts/test_sample_files",
    "concepts/trial_runs": "concepts/test_batch_axis",
    "editing/known_effects": "editing/test_witness",
    "hub/json_file": "hub/test_folder",
    "language/completion": "language/test_generation",
    "language/inspection": "opening/test_checkup",
    "language/module_sizes": "language/test_token_maps",
    "mapping/layout": "mapping/test_projection",
    "mapping/trace_meter": "mapping/test_strengths",
    "measuring/criteria_data": "measuring/test_criteria",
    "models/callable_twins": "models/test_twins",
    "models/linear_maps/adapted_models": "models/linear_maps/test_adapted",
    "models/linear_maps/derived": "models/linear_maps/test_parametrized",
    "models/linear_maps/expert_ports": "models/linear_maps/test_experts",
    "models/linear_maps/frozen": "models/linear_maps/test_opaque",
    "models/object_twins": "models/test_twins",
    "models/twin_kinds": "models/test_twins",
    "numerics/device": "numerics/test_precision",
    "opening/estimate": "opening/test_checkup",
    "opening/input_forms": "opening/test_made",
    "sandboxing/limits": "sandboxing/test_limited_process",
    "storing/cache_settings": "storing/test_cache",
    "storing/manifests": "storing/test_cache",
    "storing/workplaces": "storing/test_files",
    "tabular/table_concepts": "tabular/test_hub",
    "vision/class_names": "vision/test_hub",
}


def modules() -> list[str]:
    """Return the modules of the core, as paths without their ending."""
    files = (path for path in CORE.rglob("*.py") if path.name != "__init__.py")
    return sorted(path.relative_to(CORE).with_suffix("").as_posix() for path in files)


def own_file(module: str) -> Path:
    """Return where a module's own tests belong."""
    room, _, name = module.rpartition("/")
    return TESTS / room / f"test_{name}.py"


def test_every_module_of_the_core_is_tested_in_its_file_or_in_one_that_is_named_here() -> None:
    lacking = [name for name in modules() if not own_file(name).exists() and name not in TESTED_THROUGH]
    assert not lacking, f"write tests/<room>/test_<module>.py for: {', '.join(lacking)}"


@pytest.mark.parametrize("module", TESTED_THROUGH)
def test_the_table_of_exceptions_holds_no_more_than_it_must(module: str) -> None:
    assert (CORE / f"{module}.py").exists(), "the module is gone: take it out of the table"
    assert not own_file(module).exists(), "it has a file of its own now: take it out of the table"
    assert (TESTS / f"{TESTED_THROUGH[module]}.py").exists()
