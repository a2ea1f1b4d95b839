"""Captions by Gemma-2, the released model's text encoder, with the released prompt handling.

A caption is prefixed with a fixed instruction ("complex human instruction" of SANA), both are encoded together, and
the states of the beginning-of-text token and of the last L - 1 tokens are kept: those of the caption, which have read
the instruction. Padding is on the right. A negative prompt is encoded without the instruction. Facts: `sana-wm.md` 2.7
and the public file `configs/sana_wm/sana_wm_1600m_720p.yaml` of NVlabs/Sana (Apache-2.0), which holds the words.
Shapes: B batch, L text tokens, C channels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from wmkit.errors import ConfigError, InputError
from wmkit.model.components import Component, check_source, licence_of, missing_component, missing_package
from wmkit.model.text import TextBatch

__all__ = ["INSTRUCTION", "GemmaText", "load_gemma"]

INSTRUCTION = "\n".join(
    (
        'Given a user prompt, generate an "Enhanced prompt" that provides detailed visual descriptions suitable for '
        "image generation. Evaluate the level of detail in the user prompt:",
        "- If the prompt is simple, focus on adding specifics about colors, shapes, sizes, textures, and spatial "
        "relationships to create vivid and concrete scenes.",
        "- If the prompt is already detailed, refine and enhance the existing details slightly without "
        "overcomplicating.",
        "Here are examples of how to transform or refine prompts:",
        "- User Prompt: A cat sleeping -> Enhanced: A small, fluffy white cat curled up in a round shape, sleeping "
        "peacefully on a warm sunny windowsill, surrounded by pots of blooming red flowers.",
        "- User Prompt: A busy city street -> Enhanced: A bustling city street scene at dusk, featuring glowing street "
        "lamps, a diverse crowd of people in colorful clothing, and a double-decker bus passing by towering glass "
        "skyscrapers.",
        "Please generate only the enhanced description for the prompt below and avoid including any additional "
        "commentary or evaluations:",
        "User Prompt: ",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GemmaText:
    """A loaded Gemma-2 as a `TextEncoder`: `tokens` L, `instruction` "" for none (negative prompts)."""

    tokenizer: Any
    module: Any
    component: Component
    tokens: int = 300
    instruction: str = INSTRUCTION

    def __post_init__(self) -> None:
        if self.tokens < 2:
            raise ConfigError(f"text: expected at least 2 tokens, got {self.tokens}")

    @property
    def channels(self) -> int:
        """C: 2304 for Gemma-2-2b."""
        return self.module.config.hidden_size

    @property
    def licence(self) -> str:
        """Licence of the weights, in words."""
        return self.component.licence

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextBatch:
        """States of the last layer, (B, L, C); a longer caption loses its end. InputError for no text."""
        if not texts:
            raise InputError("text: expected at least one text, got none")
        # The instruction's own count has its beginning-of-text token, and its last token merges with the caption.
        length = self.tokens if not self.instruction else len(self.tokenizer.encode(self.instruction)) + self.tokens - 2
        batch = self.tokenizer(
            [self.instruction + text for text in texts],
            max_length=length,
            padding="max_length",
            padding_side="right",
            truncation=True,
            return_tensors="pt",
        ).to(self.module.device)
        states = self.module(input_ids=batch.input_ids, attention_mask=batch.attention_mask).last_hidden_state
        kept = [0, *range(length - self.tokens + 1, length)]
        return TextBatch(states=states[:, kept], mask=batch.attention_mask[:, kept].bool())


def load_gemma(
    source: str | Path,
    *,
    download: bool = False,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    tokens: int = 300,
    note: Callable[[str], None] | None = None,
) -> GemmaText:
    """Gemma-2 and its tokenizer from the folder `source`; `note` is told the licence.

    With `download` also the name of a repository; without, nothing is fetched. safetensors alone are read. InputError
    where there are no weights or no transformers.
    """
    check_source("gemma-2", str(source), download)
    try:
        import transformers
    except ImportError as error:
        raise missing_package("gemma-2", "transformers", error) from error
    component = licence_of("gemma-2", str(source))
    if note is not None:
        note(component.line())
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(source, local_files_only=not download)
        module: Any = transformers.Gemma2Model.from_pretrained(
            source, local_files_only=not download, dtype=dtype, use_safetensors=True
        )
    except (OSError, ValueError) as error:
        raise missing_component("gemma-2", str(source), str(error)) from error
    return GemmaText(
        tokenizer=tokenizer,
        module=module.to(device).eval().requires_grad_(False),
        component=component,
        tokens=tokens,
    )
