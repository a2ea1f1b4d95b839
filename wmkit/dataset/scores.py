"""Values that other tools measured (DOVER, a VLM, a person), joined to a corpus by clip when its shards are built.

::

    {"dover": {"walks/a.mp4": 0.61, "6f0c…": 0.4}, "vlm_entities": {"walks/a.mp4": 3}}

A clip is named as the ledger names its source, or by its id. What has no score is UNMEASURED, never a number.
"""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from wmkit.corpus.columns import VerdictColumn
from wmkit.errors import InputError

__all__ = ["NO_SCORES", "Scores", "read_scores"]

MISSING = "no score of this clip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Score -> clip (name or id) -> value; `sha256` of the file they were read from, "" without one."""

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    sha256: str = ""

    def columns(self, ids: Sequence[str], names: Sequence[str]) -> dict[str, VerdictColumn]:
        """Every score of the clips with these ids and source names; a clip's id counts before its name.

        Raises InputError when a score names none of the clips: the file belongs to another corpus.
        """
        found = {}
        for score, of_clip in self.values.items():
            listed = [of_clip.get(key, of_clip.get(name)) for key, name in zip(ids, names, strict=True)]
            value = np.array([math.nan if item is None else item for item in listed], dtype=np.float64)
            if of_clip and len(ids) and not np.isfinite(value).any():
                example = next(iter(of_clip))
                raise InputError(
                    f"--scores: expected {score} of clips of this corpus, by source ({names[0]}) or id, got {example}"
                )
            zeros = np.zeros(len(value), dtype=np.int32)
            found[score] = VerdictColumn(
                name=score, value=value, ran=zeros == 0, unit=zeros, reason=zeros, units=("",), reasons=(MISSING,)
            )
        return found


NO_SCORES = Scores()


def read_scores(path: Path | None) -> Scores:
    """The scores in a JSON file, none without one; InputError, one line, for anything wrong with it."""
    if path is None:
        return NO_SCORES
    try:
        data = path.read_bytes()
        document = json.loads(data)
    except (OSError, ValueError) as error:
        got = error.strerror if isinstance(error, OSError) else "no JSON"
        raise InputError(f"--scores {path}: expected a JSON file, got {got}") from None
    if not isinstance(document, dict) or not all(isinstance(of_clip, dict) for of_clip in document.values()):
        raise InputError(f'--scores {path}: expected {{"score": {{"clip": number}}}}')
    for score, of_clip in document.items():
        for clip, value in of_clip.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"--scores {path}: {score} of {clip}: expected a finite number, got {value!r}")
    return Scores(values=document, sha256=hashlib.sha256(data).hexdigest())
