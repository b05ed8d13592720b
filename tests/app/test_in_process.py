"""`ec.explore` in a real Jupyter kernel: the page answers, shows the model in memory, and keeps its rules."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]

MODEL = """
import torch
from torch import nn
import engram_core as ec

torch.manual_seed(0)
threads = torch.get_num_threads()
data = torch.randn(120, 4)
labels = (data[:, 0] > 0).long() + (data[:, 1] > 1).long()
model = nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 3))
before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
ec.explore(model, data, labels, names=["few", "some", "many"], features=["age", "height", "income", "rank"],
           name="Kernel's own")
"""

ASK = """
import json, urllib.error, urllib.request
from urllib.parse import urlsplit

explorer = _
def get(path, **headers):
    try:
        with urllib.request.urlopen(urllib.request.Request(path, headers=headers), timeout=30) as answer:
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, {}

host = urlsplit(explorer.url).netloc
found = {
    "url": explorer.url,
    "page": get(explorer.url)[0],
    "policy": get(explorer.url)[1].get("content-security-policy", ""),
    "frame option": get(explorer.url)[1].get("x-frame-options", ""),
    "other name": get(explorer.url, Host="evil.example")[0],
    "other page": get(explorer.url, Origin="http://evil.example")[0],
    "closed": get(f"http://{host}/_stcore/script-health-check")[0],
}
"""

PAGE = """
from streamlit.testing.v1 import AppTest
from {package}.launch import MAIN

page = AppTest.from_file(str(MAIN), default_timeout=120)
page.query_params["page"], page.query_params["model"] = "live", "Kernel's own"
page.run()
found |= {{
    "failed": len(page.exception),
    "models": page.selectbox(key="model").options,
    "sliders": [each.label for each in page.slider],
    "html": " ".join(block.proto.body for block in page.get("html")),
    "threads": torch.get_num_threads() == threads,
    "unchanged": all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()),
}}
explorer.stop()
try:
    urllib.request.urlopen(explorer.url, timeout=3)
    found["stopped"] = False
except OSError:
    found["stopped"] = True
again = ec.explore(model, data, labels, name="Again")
found["again"] = get(again.url)[0]
again.stop()
json.dumps(found)
"""


@pytest.fixture(scope="module")
def cells():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
        sources = [MODEL, ASK, PAGE.format(package="app")]
        book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        NotebookClient(
            book, timeout=240, kernel_name="python3", resources={"metadata": {"path": ROOT}}
        ).execute()
    return book.cells


@pytest.fixture(scope="module")
def found(cells):
    return json.loads(eval(cells[-1].outputs[-1].data["text/plain"]))


def test_a_cell_shows_the_page_in_a_frame(cells, found) -> None:
    shown = cells[0].outputs[-1].data["text/html"]
    assert f'<iframe src="{found["url"].replace("&", "&amp;")}"' in shown
    assert found["page"] == 200 and "/live?model=Kernel%27s+own" in found["url"]


def test_the_page_is_about_the_model_in_memory(found) -> None:
    assert not found["failed"]
    assert found["models"][0] == "Kernel's own"
    assert {"age", "height", "income", "rank"} <= set(found["sliders"])
    assert 'data-answer="base"' in found["html"] and "few" in found["html"]
    assert found["unchanged"] and found["threads"]


def test_the_rules_for_strangers_hold(found) -> None:
    assert (found["other name"], found["other page"], found["closed"]) == (403, 403, 404)
    # A notebook's page is on this machine, and nobody else's page may hold it.
    assert "frame-ancestors 'self' http://localhost:*" in found["policy"] and not found["frame option"]
    assert "http:" not in found["policy"].split("frame-ancestors")[0]


def test_it_ends_and_begins_again(found) -> None:
    assert found["stopped"] and found["again"] == 200
