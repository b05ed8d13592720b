from app.choice.pages import FIRST_PAGE, PAGES, path_of
from app.views.registry import REGISTRY


def test_the_pages_are_those_of_the_menu_and_the_first_has_no_path():
    assert tuple(entry.path for entry in REGISTRY) == PAGES
    assert [entry.path for entry in REGISTRY if entry.first] == [FIRST_PAGE]
    assert [path_of(page) for page in PAGES if not path_of(page)] == [""] and path_of("live") == "live"
