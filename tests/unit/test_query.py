"""SQL over a corpus says what the ledger says; what DuckDB refuses is one line."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.large_ledger import write_large_corpus
from wmkit import cli
from wmkit.corpus import Corpus, Status
from wmkit.corpus.query import query_corpus
from wmkit.errors import InputError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return write_large_corpus(tmp_path_factory.mktemp("query") / "corpus", 200, {"fov_x": "deg", "blur": ""}, parts=3)


def test_outcomes_are_counted(corpus: Corpus) -> None:
    found = query_corpus(corpus.path, "select status, count(*) as n from clips group by status order by status")
    assert found.columns == ("status", "n")
    assert dict(found.rows) == Counter(str(row.status) for row in corpus.latest().values())


def test_a_filter_is_a_column_and_unmeasured_is_null(corpus: Corpus) -> None:
    found = query_corpus(corpus.path, "select clip_id, blur, scale_value from clips order by clip_id").rows
    for (clip_id, blur, metres), row in zip(found, corpus.latest().values(), strict=True):
        assert (clip_id, metres) == (row.clip_id, row.scale_value)
        assert blur == next((verdict.value for verdict in row.verdicts if verdict.name == "blur"), None)


def test_verdicts_keep_their_reasons(corpus: Corpus) -> None:
    asked = "select name, reason, count(*) from verdicts where state = 'unmeasured' group by all order by name"
    wanted = Counter(
        (verdict.name, verdict.reason)
        for row in corpus.latest().values()
        for verdict in row.verdicts
        if verdict.value is None
    )
    assert {(name, reason): count for name, reason, count in query_corpus(corpus.path, asked).rows} == wanted
    joined = "select count(*) from verdicts join clips using (clip_id) join sources using (clip_id) where status = 'ok'"
    ok = [row for row in corpus.latest().values() if row.status is Status.OK]
    assert query_corpus(corpus.path, joined).rows == ((2 * len(ok),),)


def test_the_verb(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["query", str(corpus.path), "select 1 as one, null as none, 0.25 as quarter"]) == 0
    assert capsys.readouterr().out == "one  none  quarter\n1    -     0.25\n"
    asked = "select timings, finished_at, 'nan'::double as x from ledger limit 1"
    assert cli.main(["query", str(corpus.path), asked, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert row["timings"] == [["pose", 20.0], ["decode", 5.0]]
    assert row["x"] is None
    assert row["finished_at"].startswith("1970")


@pytest.mark.parametrize("sql", ["selct 1", "select nothing from clips", "select * from nowhere", ""])
def test_a_wrong_question_is_one_line(corpus: Corpus, sql: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["query", str(corpus.path), sql])
    said = capsys.readouterr()
    assert (code, said.err.count("\n")) == (2, 1)


def test_without_duckdb_the_extra_is_named(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(InputError, match=r"wmkit\[query\]"):
        query_corpus(corpus.path, "select 1")


def test_no_corpus_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a corpus"):
        query_corpus(tmp_path, "select 1")
