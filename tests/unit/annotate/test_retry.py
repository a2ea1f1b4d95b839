"""What `wmkit retry` runs again: failed clips of this config, by code, with their own flags, and only when asked."""

import json
import shlex
from pathlib import Path

import pytest

from wmkit import cli
from wmkit.annotate.retry import Retry, retry_of
from wmkit.corpus import Corpus, DeadLetter
from wmkit.errors import InputError


def letter(clip_id: str, path: Path, stage: str, code: str, flags: str = "", config_hash: str = "now") -> DeadLetter:
    command = shlex.join(["wmkit", "annotate", str(path), "--out", "/moved/since"]) + f" --retry {flags}"
    return DeadLetter(
        clip_id=clip_id, source=path.name, path=str(path), stage=stage, code=code, message="m", traceback="t",
        command=command, attempt=2, config_hash=config_hash,
    )  # fmt: skip


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three failed clips of this config, one whose source is gone, and one of another config."""
    store = Corpus.create_or_open(tmp_path / "corpus", {}, "now", update=False)
    for name in ("a slow.mp4", "b.mp4", "c.mp4", "old.mp4"):
        (tmp_path / name).touch()
    store.write_dead_letter(letter("a0", tmp_path / "a slow.mp4", "worker", "timeout", "--seed 3"))
    store.write_dead_letter(letter("b0", tmp_path / "b.mp4", "decode", "empty", "--seed 3"))
    store.write_dead_letter(letter("c0", tmp_path / "c.mp4", "decode", "timeout", "--seed 3 --clip-timeout-s 7.0"))
    store.write_dead_letter(letter("d0", tmp_path / "gone.mp4", "decode", "empty"))
    store.write_dead_letter(letter("e0", tmp_path / "old.mp4", "decode", "empty", config_hash="then"))
    return store.path


def found(corpus: Path, *codes: str) -> tuple[list[str], list[str]]:
    """Names of the sources that are run, and the flags."""
    arguments = list(retry_of(corpus, codes).arguments)
    at = arguments.index("--out")
    assert arguments[at : at + 3] == ["--out", str(corpus), "--retry"]
    return [Path(path).name for path in arguments[:at]], arguments[at + 3 :]


def test_all_or_those_of_a_code(corpus: Path) -> None:
    late = ["--seed", "3", "--clip-timeout-s", "7.0"]
    assert found(corpus) == (["a slow.mp4", "b.mp4", "c.mp4"], late)
    assert found(corpus, "timeout") == (["a slow.mp4", "c.mp4"], late)
    assert found(corpus, "worker/timeout", "decode/empty") == (["a slow.mp4", "b.mp4"], ["--seed", "3"])
    assert retry_of(corpus).gone == ("gone.mp4",)


def test_a_code_that_no_clip_ended_with_is_one_line(corpus: Path) -> None:
    with pytest.raises(
        InputError, match=r"got 'timeot'; it has decode/empty \(2\), decode/timeout \(1\), worker/timeou"
    ):
        retry_of(corpus, ["timeout", "timeot"])
    with pytest.raises(InputError, match="expected a corpus"):
        retry_of(corpus / "nowhere")


def test_nothing_failed_is_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = Corpus.create_or_open(tmp_path / "corpus", {}, "now", update=False)
    assert retry_of(store.path) == Retry(arguments=(), gone=())
    assert cli.main(["retry", str(store.path)]) == 0
    assert "no failed clip to run again" in capsys.readouterr().out
    assert cli.main(["retry", str(store.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"corpus": str(store.path), "clips": 0}
    assert cli.main(["retry", str(store.path), "--code", "x"]) == 2


def test_the_verb_runs_a_clip_that_failed_and_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no video fails, stays failed when annotate runs again, and is attempted when retry does."""
    (tmp_path / "in").mkdir()
    for name in ("no.mp4", "neither.mp4"):
        (tmp_path / "in" / name).write_text(f"{name} is no video")
    corpus, run = str(tmp_path / "corpus"), ["--executor", "local", "--workers", "1", "--json"]
    annotate = ["annotate", str(tmp_path / "in"), "--out", corpus, "--seed", "3", *run]
    assert cli.main(annotate) == 1
    store = Corpus.open(Path(corpus))
    code = store.dead_letters()[0].code
    assert cli.main(annotate) == 1
    assert [row.attempt for row in store.ledger()] == [1, 1]
    (tmp_path / "in" / "neither.mp4").unlink()
    capsys.readouterr()
    assert cli.main(["retry", corpus, "--code", code, "--clip-timeout-s", "50", *run]) == 1
    out, err = capsys.readouterr()
    assert "their sources are gone: neither.mp4" in err
    summary = json.loads(out)
    assert (summary["sources"], summary["failed"], summary["resumed"]) == (1, 1, 0)
    assert sorted((row.source, row.attempt) for row in store.ledger()) == [
        ("neither.mp4", 1), ("no.mp4", 1), ("no.mp4", 2),
    ]  # fmt: skip
    (told,) = [each.command for each in store.dead_letters() if each.source == "no.mp4"]
    assert told.endswith("--retry --executor local --clip-timeout-s 50.0 --seed 3")
