"""Every way a JSON file can be no object ends in one line that names it."""

from pathlib import Path

import pytest

from wmkit.errors import InputError
from wmkit.json_object import read_json


def test_an_object_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"é": [1, null]}', encoding="utf-8")
    assert read_json(path) == {"é": [1, None]}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1,\n"b" 2}', "a.json:2: expected JSON, got: Expecting ':' delimiter; fetch it"),
        (b"[1]", "a.json: expected a JSON object, got list; fetch it"),
        (b"\xff", "a.json: expected a readable text file, got: 'utf-8' codec"),
        (b"[" * 100_000, "a.json: expected JSON, got brackets nested too deeply"),
        (b"", "a.json:1: expected JSON"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_json(path, "fetch it")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_absent_and_one_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.json: expected a file, found none"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="expected a readable text file, got"):
        read_json(tmp_path)
