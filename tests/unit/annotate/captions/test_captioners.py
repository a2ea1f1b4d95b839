"""Captioners: sidecars of every form, and a server that speaks as OpenAI's does."""

import base64
import dataclasses
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest

from tests.annotate_doubles import NO_FILE, ArraySource, annotation_of, path_of
from wmkit.annotate.captions import EndpointCaptionConfig, SidecarCaptionConfig, captions_of_flags
from wmkit.annotate.captions.endpoint import KEY_VARIABLE
from wmkit.annotate.captions.prompt import SCENE_PROMPT
from wmkit.annotate.filters.camera_words import CameraWordsConfig
from wmkit.annotate.pipeline import config_dict
from wmkit.annotate.protocols import CaptionConfig, Unmeasured
from wmkit.caption import MAX_CHARACTERS, Caption
from wmkit.corpus.clip_folder import annotation_files, read_annotation
from wmkit.errors import ClipError, InputError
from wmkit.video.frames import ClipFile

SOURCE = ArraySource(np.arange(10, dtype=np.uint8)[:, None, None, None] * np.full((1, 48, 64, 3), 20, np.uint8))
ANNOTATION = annotation_of(path_of(np.zeros((10, 3))))


def said(config: CaptionConfig, file: ClipFile = NO_FILE) -> Caption | Unmeasured:
    return config.build("cpu").caption(ANNOTATION, SOURCE, file)


def clip_at(path: Path, images: tuple[str, ...] = ()) -> ClipFile:
    return dataclasses.replace(NO_FILE, path=str(path), name=f"walks/{path.name}", images=images)


def test_a_text_beside_the_clip_is_its_caption(tmp_path: Path) -> None:
    config = captions_of_flags("auto", None)
    assert isinstance(config, SidecarCaptionConfig)
    clip = clip_at(tmp_path / "a.b.mp4")
    assert said(config, clip) == Unmeasured(reason="no_caption_beside_the_clip")
    (tmp_path / "a.b.json").write_text('{"fps": 16, "prompt": "A pier."}')
    assert said(config, clip) == Caption(text="A pier.", source="a.b.json")
    (tmp_path / "a.b.txt").write_text("  A pier\n at dusk. \n")
    assert said(config, clip) == Caption(text="A pier at dusk.", source="a.b.txt")
    (tmp_path / "stills.txt").write_text("A room.")
    folder = clip_at(tmp_path / "stills", images=("0.png", "1.png"))
    assert said(config, folder) == Caption(text="A room.", source="stills.txt")
    (tmp_path / "a.b.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ClipError) as caught:
        said(config, clip)
    assert (caught.value.stage, caught.value.code) == ("caption", "sidecar_unreadable")


@pytest.mark.parametrize(
    "text",
    [
        '{"walks/a.mp4": "A pier."}',
        '{"walks/a": {"caption": "A pier."}}',
        '{"c0ffee": "A pier."}',
        '{"clip": "walks/b.mp4", "caption": "A barn."}\n\n{"clip": "walks/a.mp4", "text": "A pier."}\n',
    ],
)
def test_one_file_names_clips_in_any_usual_way(text: str, tmp_path: Path) -> None:
    listed = tmp_path / "captions.json"
    listed.write_text(text)
    config = captions_of_flags(str(listed), None)
    assert config is not None
    assert said(config, clip_at(Path("/x/a.mp4"))) == Caption(text="A pier.", source="captions.json")
    other = dataclasses.replace(NO_FILE, clip_id="0", name="walks/c.mp4")
    assert said(config, other) == Unmeasured(reason="no_caption_in_the_file")
    moved = tmp_path / "moved.json"
    moved.write_text(text)
    assert config_dict(config) == config_dict(captions_of_flags(str(moved), None))  # its content counts, not its place
    moved.write_text(text.replace("pier", "dock"))
    assert config_dict(config) != config_dict(captions_of_flags(str(moved), None))


@pytest.mark.parametrize("text", ["{", "[]", "3", '{"a": 3}', '{"a": {"words": "x"}}', '{"words": "x"}\n{"b": 1}'])
def test_another_file_is_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "captions.json"
    path.write_text(text)
    with pytest.raises(InputError, match="--captions") as caught:
        captions_of_flags(str(path), None)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="No such file"):
        captions_of_flags(str(tmp_path / "none.json"), None)


def test_flags_that_do_not_fit_are_named() -> None:
    assert captions_of_flags("none", None) is None
    for captions, model, word in (
        ("http://h/v1", None, "--caption-model"),
        ("auto", "m", "--caption-model"),
        ("ftp://h/v1", "m", "http://"),
    ):
        with pytest.raises(InputError, match=word):
            captions_of_flags(captions, model)


class Server(BaseHTTPRequestHandler):
    """Answers as the class says and keeps what it was asked."""

    status: ClassVar[int] = 200
    answer: ClassVar[Any] = None
    asked: ClassVar[list[tuple[str, dict[str, str], dict[str, Any]]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path, dict(self.headers), json.loads(body)))
        data = self.answer if isinstance(self.answer, bytes) else json.dumps(self.answer).encode()
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class calls it so
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Server.status, Server.asked = 200, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def completion(text: Any, reason: str = "stop") -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]}


def test_a_server_is_sent_frames_and_the_prompt(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    Server.answer = completion("A grey wall.\n\nIt is flat.")
    config = captions_of_flags(url + "/", "tiny-vl")
    assert config is not None
    assert said(config) == Caption(text="A grey wall. It is flat.", source="tiny-vl")
    ((path, headers, body),) = Server.asked
    assert (path, body["model"], body["temperature"]) == ("/v1/chat/completions", "tiny-vl", 0)
    assert headers["Authorization"] == "Bearer secret"
    *pictures, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": SCENE_PROMPT}
    data = [base64.b64decode(item["image_url"]["url"].split(",")[1]) for item in pictures]
    shown = [int(np.mean(np.asarray(cv2.imdecode(np.frombuffer(item, np.uint8), 0)))) for item in data]
    # frames 0, 2, 4, 5, 7, 9 of ten, each 20 levels brighter than the one before; JPEG is a level or so off
    assert shown == pytest.approx([0, 40, 80, 100, 140, 180], abs=2)


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (404, b"no such model", "endpoint_refused"),
        (200, b"<html>", "endpoint_answer"),
        (200, {"choices": []}, "endpoint_answer"),
        (200, completion(" "), "endpoint_answer"),
        (200, completion(None), "endpoint_answer"),
        (200, completion("A wall and", "length"), "endpoint_answer"),
    ],
)
def test_a_server_that_fails_fails_the_clip(url: str, status: int, answer: Any, code: str) -> None:
    Server.status, Server.answer = status, answer
    with pytest.raises(ClipError) as caught:
        said(EndpointCaptionConfig(url=url, model="m"))
    assert (caught.value.stage, caught.value.code) == ("caption", code)


def test_no_server_is_a_clip_error() -> None:
    with pytest.raises(ClipError, match="expected an answer"):
        said(EndpointCaptionConfig(url="http://127.0.0.1:9/v1", model="m", timeout_s=5))


def test_a_caption_is_one_line_and_survives_the_folder(tmp_path: Path) -> None:
    captioned = dataclasses.replace(ANNOTATION, caption=Caption.of("A pier — at\ndusk.", "a.txt"))
    for name, data in annotation_files(captioned).items():
        (tmp_path / name).write_bytes(data)
    assert read_annotation(tmp_path).caption == captioned.caption
    for text in ("", "two\nlines", " x", "x" * (MAX_CHARACTERS + 1)):
        with pytest.raises(InputError, match="caption"):
            Caption(text=text, source="a.txt")


def test_the_filter_counts_phrases() -> None:
    captioned = dataclasses.replace(ANNOTATION, caption=Caption.of("The camera pans left past a pier.", "a.txt"))
    assert CameraWordsConfig().build("cpu").measure(captioned).value == 1.0
    assert CameraWordsConfig().build("cpu").measure(ANNOTATION).reason == "no_caption"
