"""In an editable install, the folder `app` under the name that the wheel gives it."""

from pathlib import Path

__path__ = [str(Path(__file__).resolve().parents[2] / "app")]
