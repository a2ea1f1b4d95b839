"""Weights: the licence first, then bytes that are whole and as promised; a server of our own."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from wmkit.annotate.defaults import default_config, pose_backend
from wmkit.annotate.pipeline import _backend, config_hash
from wmkit.annotate.pose import CommandConfig
from wmkit.annotate.weights import cache_folder, fetched, known_weights
from wmkit.cli import main
from wmkit.errors import InputError

BYTES = bytes(range(256)) * 9000
DIGEST = hashlib.sha256(BYTES).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """/good sends all, /cut less than it promises, /gone nothing; /moving what it is told to."""

    asked: list[str] = []  # noqa: RUF012
    moving = BYTES

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/gone":
            self.send_error(404)
            return
        self.send_response(200)
        body = self.moving if self.path == "/moving" else BYTES
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A table whose weights are served on this machine; the cache in a folder of the test's own."""
    monkeypatch.setenv("WMKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    Handler.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    rows = {"good": ("good", DIGEST), "unknown": ("good", None), "false": ("good", "0" * 64), "cut": ("cut", None)}
    rows |= {"gone": ("gone", None), "deaf": ("deaf", None), "moving": ("moving", None)}
    text = ""
    for name, (path, digest) in rows.items():
        url = "http://127.0.0.1:9/x" if name == "deaf" else f"{base}/{path}"
        text += f'[{name}]\nwhat = "a test"\nlicence = "CC-BY-NC-4.0"\nurl = "{url}"\nfile = "model.safetensors"\n'
        text += f'sha256 = "{digest}"\n' if digest else ""
    path = tmp_path / "table.toml"
    path.write_text(text)
    yield path
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(table: Path, name: str, *flags: str) -> int:
    return main(["weights", "fetch", name, "--table", str(table), *flags])


def test_nothing_is_asked_for_before_the_licence_is_accepted(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch(table, "good") == 2
    error = capsys.readouterr().err
    assert "--accept-licence" in error
    assert "CC-BY-NC-4.0" in error
    assert error.count("\n") == 1
    assert Handler.asked == []
    assert not cache_folder().exists()


@pytest.mark.parametrize("name", ["good", "unknown"])
def test_fetched_whole_once_and_on_record(table: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch(table, name, "--accept-licence", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"name", "path", "licence", "sha256", "bytes"}
    assert Path(told["path"]).read_bytes() == BYTES
    assert told["sha256"] == DIGEST
    note = json.loads((cache_folder() / name / "weights.json").read_text())
    assert (note["licence"], note["sha256"]) == ("CC-BY-NC-4.0", DIGEST)
    assert fetch(table, name, "--accept-licence") == 0
    assert len(Handler.asked) == 1, "the second time it is there"


@pytest.mark.parametrize(
    ("name", "words"), [("false", "sha256"), ("cut", "bytes"), ("gone", "404"), ("deaf", "is there a network")]
)
def test_a_failed_download_is_one_line_and_leaves_nothing(
    table: Path, name: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(table, name, "--accept-licence") == 1
    error = capsys.readouterr().err.splitlines()
    assert words in error[-1]
    assert error[-1].startswith("error: ")
    assert list((cache_folder() / name).iterdir()) == []


def test_damage_in_the_cache_is_noticed_and_mended(table: Path) -> None:
    assert fetch(table, "good", "--accept-licence") == 0
    Path(fetched("good").path).write_bytes(b"short")
    with pytest.raises(InputError, match="fetch them again"):
        fetched("good")
    assert fetch(table, "good", "--accept-licence") == 0
    assert Path(fetched("good").path).read_bytes() == BYTES


def test_the_first_fetch_is_what_later_ones_are_held_to(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(table, "moving", "--accept-licence") == 0
    assert f"sha256 {DIGEST}, on record" in capsys.readouterr().out
    path = Path(fetched("moving").path)
    path.unlink()
    monkeypatch.setattr(Handler, "moving", BYTES[::-1])
    assert fetch(table, "moving", "--accept-licence") == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"expected sha256 {DIGEST}, as first fetched" in error
    assert str(cache_folder() / "moving" / "weights.json") in error
    assert not path.exists()
    with pytest.raises(InputError, match="fetch them again"):
        fetched("moving")
    (cache_folder() / "moving" / "weights.json").unlink()  # as the message says
    assert fetch(table, "moving", "--accept-licence") == 0
    assert fetched("moving").sha256 == hashlib.sha256(BYTES[::-1]).hexdigest()


def test_bytes_exchanged_behind_our_back_are_noticed(table: Path) -> None:
    assert fetch(table, "unknown", "--accept-licence") == 0
    path = Path(fetched("unknown").path)
    path.write_bytes(BYTES[::-1])  # of the same size
    with pytest.raises(InputError, match=f"expected sha256 {DIGEST}, as fetched"):
        fetched("unknown")
    path.write_bytes(BYTES)  # put back: another time, the same bytes
    assert fetched("unknown").sha256 == DIGEST


def test_another_version_of_a_program_is_another_config(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("pass\n")

    def config_of(command: str) -> tuple[str | None, str]:
        backend = pose_backend(poses=None, command=command, weights=None, timeout_s=100)
        assert isinstance(backend, CommandConfig)
        return backend.program_hash, config_hash(default_config(pose=backend))

    before = config_of(f"python {path}")
    assert before[0] is not None
    assert config_of(f"python {path}") == before
    path.write_text("pass  # better\n")
    assert config_of(f"python {path}")[1] != before[1]
    assert config_of("python -m mine")[0] is None
    with pytest.raises(InputError, match="check its quotes"):
        config_of("python 'mine.py")


def test_their_licence_and_hash_go_into_the_provenance(table: Path) -> None:
    assert fetch(table, "good", "--accept-licence") == 0
    backend = pose_backend(poses=None, command="python x.py", weights="good", timeout_s=100)
    config = default_config(pose=backend)
    record = _backend("pose", config.pose)
    assert (record.name, record.licence, record.weights_hash) == ("command", "CC-BY-NC-4.0", DIGEST)
    with pytest.raises(InputError, match="wmkit weights fetch"):
        pose_backend(poses=None, command="python x.py", weights="unknown", timeout_s=100)


def test_unknown_names_and_bad_tables(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch(table, "other", "--accept-licence") == 2
    assert "expected one of" in capsys.readouterr().err
    table.write_text("[x]\nwhat = 1\n")
    assert fetch(table, "x", "--accept-licence") == 2


def test_our_own_table_names_a_licence_for_all(capsys: pytest.CaptureFixture[str]) -> None:
    rows = known_weights()
    assert {"pi3x", "vggt-1b", "map-anything-apache"} <= set(rows)
    assert all(row.licence and row.what and row.file.endswith(".safetensors") for row in rows.values())
    assert main(["weights", "list"]) == 0
    out = capsys.readouterr().out
    assert all(f"{row.name} " in out and row.licence in out for row in rows.values())
