"""How much a visit may upload, and that nothing of it stays."""

from __future__ import annotations

from collections import Counter

from streamlit.runtime import Runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager

from .limits import Limits

__all__ = ["Uploads"]


class Uploads:
    """What is on the server, and what is on its way.

    Args:
        limits: the limits.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._bytes: Counter[str] = Counter()
        self._files: Counter[str] = Counter()

    def refusal(self, session: str, length: str | None) -> tuple[int, str] | None:
        """Say why a file is not taken: a status and a sentence, or None if it is.

        Args:
            session: Streamlit's name for the session.
            length: the Content-Length header.

        Returns:
            A status of HTTP and a sentence, or None.
        """
        if length is None:
            return 411, "Say how long the file is (Content-Length)."
        if not length.isascii() or not length.isdigit() or len(length) > 15:
            return 400, "The Content-Length is no number."
        kept = _kept(session)
        files = len(kept) + self._files[session]
        if files >= self._limits.upload_files:
            return 413, f"This page has {files} files on the server already; remove one first."
        size = sum(kept) + self._bytes[session] + int(length)
        everybody = _kept_of_all() + self._bytes.total() + int(length)
        if size > self._limits.upload_bytes or everybody > self._limits.all_upload_bytes:
            return 413, "Together with the files that are on the server already this is too much."
        return None

    def begin(self, session: str, length: int) -> None:
        """Count a file that is on its way."""
        self._bytes[session] += length
        self._files[session] += 1

    def end(self, session: str, length: int) -> None:
        """Count it no more: it has come, or will not."""
        self._bytes[session] -= length
        self._files[session] -= 1
        if not self._files[session]:
            del self._bytes[session], self._files[session]


def forget(session: str) -> None:
    """Remove the files of a session that has ended."""
    manager = _manager()
    if manager is not None:
        manager.remove_session_files(session)


def _manager() -> MemoryUploadedFileManager | None:
    manager = Runtime.instance().uploaded_file_mgr if Runtime.exists() else None
    return manager if isinstance(manager, MemoryUploadedFileManager) else None


def _kept(session: str) -> list[int]:
    manager = _manager()
    files = {} if manager is None else manager.file_storage.get(session, {})
    return [len(file.data) for file in list(files.values())]


def _kept_of_all() -> int:
    manager = _manager()
    sessions = [] if manager is None else list(manager.file_storage)
    return sum(sum(_kept(session)) for session in sessions)
