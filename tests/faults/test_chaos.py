"""The short form of `make chaos`: one fault of every kind that needs no Ray, and a corpus that is none the worse."""

from pathlib import Path

import pytest

from tests.faults.chaos import chaos, kinds_of
from tests.faults.chaos_clips import MadeClips

pytestmark = pytest.mark.faults


@pytest.mark.timeout(900)
def test_a_corpus_and_its_shards_survive_one_of_every_kind(tmp_path: Path) -> None:
    kinds = kinds_of("local")
    session = chaos(faults=len(kinds), work=MadeClips(8), executor="local", seed=1, folder=tmp_path)
    assert session.hits == dict.fromkeys(kinds, 1)
    assert session.equal >= 1
