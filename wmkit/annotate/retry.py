"""Which failed clips are to be run again, and the `wmkit annotate` arguments that do it."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wmkit.corpus import Corpus, DeadLetter
from wmkit.errors import InputError
from wmkit.video.reference import is_url, split_reference

__all__ = ["Retry", "retry_of"]

_BEFORE_FLAGS = 5  # wmkit annotate PATH --out CORPUS


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """arguments of annotate, () when there is nothing to run; gone: names of failed clips whose source is not there."""

    arguments: tuple[str, ...]
    gone: tuple[str, ...]


def retry_of(corpus: Path, codes: Sequence[str] = ()) -> Retry:
    """The failed clips of a corpus, or those that ended with one of `codes` (`timeout` or `worker/timeout`).

    They are run with the flags they were annotated with. InputError when there is no corpus, or no failed clip ended
    with a code that is asked for.
    """
    store = Corpus.open(corpus)
    run, own = store.config_hash, store.config_hashes(store.config_hash)
    letters = [letter for letter in store.dead_letters() if letter.config_hash in own.get(letter.clip_id, (run,))]
    known = Counter(f"{letter.stage}/{letter.code}" for letter in letters)
    unknown = [code for code in codes if not any(code in (word, word.partition("/")[2]) for word in known)]
    if unknown:
        there = ", ".join(f"{word} ({count})" for word, count in sorted(known.items())) or "no failed clip"
        raise InputError(
            f"--code: expected what a failed clip of {corpus} ended with, got {unknown[0]!r}; it has {there}"
        )
    wanted = [letter for letter in letters if not codes or {letter.code, f"{letter.stage}/{letter.code}"} & set(codes)]
    there = [letter for letter in wanted if _is_there(letter.path)]
    gone = tuple(letter.source for letter in wanted if letter not in there)
    if not there:
        return Retry(arguments=(), gone=gone)
    paths = [letter.path for letter in there]
    # One config made them all: what may differ between their flags changes no annotation.
    return Retry(arguments=(*paths, "--out", str(corpus), "--retry", *_flags(there[-1])), gone=gone)


def _is_there(path: str) -> bool:
    location = split_reference(path)[0]
    return is_url(location) or Path(location).exists()


def _flags(letter: DeadLetter) -> list[str]:
    return [word for word in shlex.split(letter.command)[_BEFORE_FLAGS:] if word != "--retry"]
