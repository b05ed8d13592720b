"""Names that somebody could give a concept to make a page do more than show them."""

__all__ = ["HOSTILE", "shown"]

# Port 9 (discard) of this machine: nothing listens there, and a request to it is seen by the browser's watch.
_FETCH = "http://127.0.0.1:9"

HOSTILE = (
    f"![i]({_FETCH}/a.png)", f"<img src={_FETCH}/b.png>", f"[![i]({_FETCH}/c.png)]({_FETCH}/d)",
    f"<script src={_FETCH}/e.js></script>", f"<iframe src={_FETCH}/f></iframe>", f"{_FETCH}/g",
    "www.example.com", "me@example.com", f"[link]({_FETCH}/h)", f"<{_FETCH}/i>",
    "**bold**", "_slanted_", "`code`", "~~gone~~",
    "# head", "- item", "1. item", "> quote", "a | b", "---", "===", "    four spaces", "$x^2$", "$$\\int$$",
    "\\(y\\)", ":smile:", ":material/home:", ":streamlit:", ":red[red]", ":blue-background[blue]",
    ":rainbow[all]",
    "a -> b <- c", "x >= y != z", "&lt;b&gt;", "<b>fat</b>", "<a href='javascript:alert(1)'>x</a>", "[/INST]",
    "[bold red]x[/]", "{{ 7*7 }}", "%{text}", "'; DROP TABLE x; --", "a\nb", "\u202eright to left",
    "<svg onload=alert(1)>", "[^1]: note", "- [ ] task",
)  # fmt: skip
"""More than forty, one for each way that is known to us."""


def shown(name: str) -> str:
    """Return what a page has to show for a name, letter by letter."""
    return name.replace("\n", " ").replace("\u202e", "\ufffd").strip()
