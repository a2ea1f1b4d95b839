"""Captions by a vision-language model of the transformers package, from a folder on this machine.

LLaVA, Qwen-VL, SmolVLM, Gemma-3: whatever `AutoModelForImageTextToText` knows and whose processor has a chat template.
Words are chosen greedily, so that the same frames give the same caption again.
"""

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from wmkit.annotate.captions.prompt import SCENE_PROMPT, spread_frames
from wmkit.annotate.local_model import model_folder
from wmkit.annotate.protocols import UNHASHED, Captioner, Unmeasured
from wmkit.caption import Caption
from wmkit.clip import Annotation
from wmkit.errors import ClipError, InputError
from wmkit.video.frames import ClipFile, FrameSource
from wmkit.video.still import shrunk

__all__ = ["LocalVlmConfig", "named_vlm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalVlmConfig:
    """`path` of the model's folder, `weights_hash` its content; `frames` of at most `side_px` are shown at once."""

    path: str = field(metadata={UNHASHED: True})
    weights_hash: str
    prompt: str = SCENE_PROMPT
    frames: int = 6
    side_px: int = 640
    max_tokens: int = 300
    name: ClassVar[str] = "local_vlm"
    on_gpu: ClassVar[bool] = True
    licence: ClassVar[str] = "the model's own"

    def build(self, device: str) -> Captioner:
        """The captioner; the model is loaded onto `device` when a clip first needs it, once a process."""
        return _LocalVlm(self, device)


def named_vlm(path: Path) -> LocalVlmConfig:
    """What `--captions FOLDER` means; InputError when the weights or their package are not here."""
    return LocalVlmConfig(path=str(path.absolute()), weights_hash=model_folder(path, "--captions"))


@dataclass(frozen=True, slots=True)
class _LocalVlm:
    config: LocalVlmConfig
    device: str

    def caption(self, annotation: Annotation, frames: FrameSource, file: ClipFile) -> Caption | Unmeasured:
        config = self.config
        shown = [shrunk(rgb, config.side_px) for rgb in spread_frames(frames, config.frames)]
        text = _load(config.path, self.device).words(shown, config.prompt, config.max_tokens)
        if not text or not text.strip():
            got = "one that was cut off" if text is None else "none"
            raise ClipError("caption", "model_answer", f"{file.name}: expected a whole caption, got {got}")
        return Caption.of(text, Path(config.path).name)


class _Vlm:
    """A model and its processor."""

    def __init__(self, path: str, device: str) -> None:
        import torch
        from transformers import (  # pyright: ignore[reportMissingImports]
            AutoModelForImageTextToText,
            AutoProcessor,
        )

        self.device = device
        try:
            self.processor: Any = AutoProcessor.from_pretrained(path, local_files_only=True, trust_remote_code=False)
            kind = torch.float32 if device == "cpu" else torch.bfloat16
            model: Any = AutoModelForImageTextToText.from_pretrained(
                path, local_files_only=True, use_safetensors=True, trust_remote_code=False, dtype=kind
            )
        except (OSError, ValueError, KeyError) as error:
            line = " ".join(str(error).split())[:200]
            raise InputError(f"--captions {path}: expected a vision-language model, got: {line}") from None
        if getattr(self.processor, "chat_template", None) is None:
            raise InputError(f"--captions {path}: expected a processor with a chat template, this one has none")
        self.model = model.to(device).eval()

    def words(self, pictures: list[NDArray[np.uint8]], prompt: str, most: int) -> str | None:
        """The model's answer to the pictures and the prompt; None when it needs more than `most` tokens."""
        import torch
        from PIL import Image

        content: list[dict[str, Any]] = [{"type": "image", "image": Image.fromarray(rgb)} for rgb in pictures]
        content.append({"type": "text", "text": prompt})
        inputs = self.processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
        ).to(self.device, self.model.dtype)
        with torch.inference_mode():
            tokens = self.model.generate(**inputs, max_new_tokens=most, do_sample=False)
        answer = tokens[0, inputs["input_ids"].shape[1] :]
        ends = np.atleast_1d(self.model.generation_config.eos_token_id)
        if int(answer[-1]) not in ends:
            return None
        return self.processor.decode(answer, skip_special_tokens=True)


@lru_cache(maxsize=1)
def _load(path: str, device: str) -> _Vlm:
    return _Vlm(path, device)
