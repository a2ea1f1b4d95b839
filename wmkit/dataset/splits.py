"""Which split a clip belongs to: a function of where its pixels come from, so that no source is on both sides."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Literal

from wmkit.dataset.plan import Candidate
from wmkit.dataset.schema import VAL

__all__ = ["SplitBy", "splits_of"]

SplitBy = Literal["source", "folder"]


def splits_of(candidates: Sequence[Candidate], main: str, val_share: float, by: SplitBy) -> Mapping[str, str]:
    """Clip id -> `main` or "val".

    Parts and copies of one file stay together (`source`), or all that lies in one folder, and in folders that share a
    file with it (`folder`). A group is in val when the sha256 of its name, as a number in [0, 1), is below the share:
    a corpus that grows moves no clip, as long as no new file joins two folders.
    """
    together = _Groups()
    for candidate in candidates:
        contents = [f"content {row.content_hash}" for row in candidate.sources] or [f"clip {candidate.clip_id}"]
        folders = [f"folder {PurePosixPath(row.path).parent}" for row in candidate.sources] if by == "folder" else []
        for name in (*contents, *folders):
            together.join(contents[0], name)
    found = {}
    for candidate in candidates:
        first = f"content {candidate.sources[0].content_hash}" if candidate.sources else f"clip {candidate.clip_id}"
        found[candidate.clip_id] = VAL if _place(together.name(first)) < val_share else main
    return found


class _Groups:
    """Sets of names that have been joined; a set is called by its first name in order."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}

    def name(self, item: str) -> str:
        top = item
        while (above := self._above.setdefault(top, top)) != top:
            top = above
        while item != top:
            self._above[item], item = top, self._above[item]
        return top

    def join(self, one: str, other: str) -> None:
        low, high = sorted((self.name(one), self.name(other)))
        self._above[high] = low


def _place(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64
