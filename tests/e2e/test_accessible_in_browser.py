"""axe-core finds no serious fault of access on any page, but Streamlit's own, which are named here."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from servers import settle

pytestmark = pytest.mark.e2e

PAGES = {
    "start": "",
    "live": "model=digits-mlp&class=7&image=3&concepts=7",
    "concept": "model=digits-mlp&concept=7",
    "criteria": "model=digits-mlp&concepts=7",
    "strength": "model=digits-mlp",
    "map": "model=digits-mlp&concepts=7&after=true",
    "layers": "model=digits-mlp&concepts=7",
    "learn": "",
    "model": "",
}
GRAVE = ("serious", "critical")
# Rule and part of the element → why it is not ours to mend.
STREAMLITS_OWN = {
    ("color-contrast", 'class="token '): "the colours of code in Markdown are fixed in its page",
}


def faults(page) -> list[str]:
    """Return what axe-core holds to be serious or worse, each with its element."""
    found = Axe().run(page).response["violations"]
    return [
        f"{violation['id']}: {' '.join(map(str, node['target']))} {node['html'][:120]}"
        for violation in found
        if violation["impact"] in GRAVE
        for node in violation["nodes"]
        if not any(rule == violation["id"] and part in node["html"] for rule, part in STREAMLITS_OWN)
    ]


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_fault_of_access(opener, name: str) -> None:
    page = opener(PAGES[name], page=name)
    page.wait_for_timeout(300)  # what fades in has less contrast meanwhile
    assert faults(page) == []


def test_nor_in_the_dark(opener) -> None:
    page = opener(PAGES["criteria"], page="criteria", scheme="dark")
    page.wait_for_timeout(300)
    assert faults(page) == []


def test_a_fault_would_be_found(opener) -> None:
    page = opener(page="learn")
    page.evaluate("document.querySelector('.stMain').insertAdjacentHTML('beforeend', '<img src=x.png>')")
    settle(page)
    assert any(fault.startswith("image-alt") for fault in faults(page))
