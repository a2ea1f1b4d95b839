"""Captions by a model behind an OpenAI-compatible endpoint: vLLM, llama.cpp, SGLang, LM Studio, a hosted one.

The frames of every clip are sent there. The same words twice are the server's affair: it is asked for temperature 0
and a seed, and many do not keep to it, so a corpus with such captions is not promised to be the same bytes again.
"""

import base64
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

from wmkit.annotate.captions.prompt import SCENE_PROMPT, spread_frames
from wmkit.annotate.protocols import UNHASHED, Captioner, Unmeasured
from wmkit.caption import Caption
from wmkit.clip import Annotation
from wmkit.errors import ClipError, InputError
from wmkit.video.frames import ClipFile, FrameSource
from wmkit.video.still import jpeg_bytes, shrunk

__all__ = ["KEY_VARIABLE", "EndpointCaptionConfig"]

KEY_VARIABLE = "WMKIT_CAPTION_KEY"
JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCaptionConfig:
    """`url` up to and without /chat/completions, `model` as the server names it; a key is read from WMKIT_CAPTION_KEY.

    Raises InputError for another scheme than http and https, or without a model.
    """

    url: str = field(metadata={UNHASHED: True})
    model: str
    prompt: str = SCENE_PROMPT
    frames: int = 6
    side_px: int = 640
    max_tokens: int = 300
    timeout_s: float = field(default=120.0, metadata={UNHASHED: True})
    name: ClassVar[str] = "endpoint"
    licence: ClassVar[str] = "the model's own"

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https") or not urlsplit(self.url).netloc:
            raise InputError(f"--captions {self.url}: expected http://HOST/v1 or https://HOST/v1")
        if not self.model:
            raise InputError("--captions URL: expected --caption-model NAME, as the server names it")

    def build(self, device: str) -> Captioner:
        """The captioner; the server has the device."""
        return _Endpoint(self)


@dataclass(frozen=True, slots=True)
class _Endpoint:
    config: EndpointCaptionConfig

    def caption(self, annotation: Annotation, frames: FrameSource, file: ClipFile) -> Caption | Unmeasured:
        config = self.config
        pictures = [
            jpeg_bytes(shrunk(rgb, config.side_px), JPEG_QUALITY) for rgb in spread_frames(frames, config.frames)
        ]
        urls = ["data:image/jpeg;base64," + base64.b64encode(data).decode("ascii") for data in pictures]
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        content.append({"type": "text", "text": config.prompt})
        asked = {
            "model": config.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": config.max_tokens,
            "temperature": 0,
            "seed": 0,
        }
        text = _words(self._post(asked, file.name), file.name)
        return Caption.of(text, config.model)

    def _post(self, asked: dict[str, Any], name: str) -> bytes:
        headers = {"Content-Type": "application/json"}
        if os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {os.environ[KEY_VARIABLE]}"
        url = self.config.url.rstrip("/") + "/chat/completions"
        request = urllib.request.Request(url, data=json.dumps(asked).encode(), headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=self.config.timeout_s) as answer:
                return answer.read(1 << 22)
        except urllib.error.HTTPError as error:
            with error:
                said = " ".join(error.read(300).decode("utf-8", errors="replace").split())
            raise ClipError("caption", "endpoint_refused", f"{name}: {url} answered {error.code}: {said}") from None
        except OSError as error:  # URLError, a timeout, a connection cut
            message = f"{name}: {url}: expected an answer, got {error}"
            raise ClipError("caption", "endpoint_unreachable", message) from None


def _words(answer: bytes, name: str) -> str:
    """The text of a chat completion; ClipError when there is none, or when it was cut off for its length."""
    try:
        choice = json.loads(answer)["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise ClipError("caption", "endpoint_answer", f"{name}: expected a chat completion with a text") from None
    if not isinstance(text, str) or not text.strip() or reason == "length":
        why = "one that was cut off" if reason == "length" else "none"
        raise ClipError("caption", "endpoint_answer", f"{name}: expected a whole caption, got {why}")
    return text
