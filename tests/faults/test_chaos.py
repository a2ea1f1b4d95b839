"""The short form of `make chaos`: a few faults of every kind, and a corpus that is none the worse."""

from pathlib import Path

import pytest

from tests.faults.chaos import KINDS, chaos

pytestmark = pytest.mark.faults


@pytest.mark.timeout(600)
def test_a_corpus_survives_a_few_of_every_kind(tmp_path: Path) -> None:
    session = chaos(faults=len(KINDS), clips=8, executor="local", seed=1, folder=tmp_path)
    assert sum(session.hits.values()) == len(KINDS)
    assert session.equal >= 1
