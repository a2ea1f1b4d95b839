"""A tiny LLaVA of random weights, saved to a folder and asked for captions: the real classes, no download."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.annotate_doubles import NO_FILE, ArraySource, annotation_of, path_of
from wmkit.annotate.captions import LocalVlmConfig, captions_of_flags
from wmkit.annotate.captions import local_vlm as module
from wmkit.annotate.pipeline import config_dict
from wmkit.annotate.protocols import CaptionConfig
from wmkit.caption import Caption
from wmkit.errors import ClipError, InputError

WORDS = ["a", "pier", "at", "dusk", "with", "wet", "boards", "and", "one", "lamp", "far", "off"]
TEMPLATE = (
    "{% for m in messages %}{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }}{% endif %}{% endfor %}{% endfor %}"
)
ANNOTATION = annotation_of(path_of(np.zeros((4, 3))))


def footage(seed: int) -> ArraySource:
    return ArraySource(np.random.default_rng(seed).integers(0, 255, (4, 48, 64, 3), np.uint8))


def saved(folder: Path, *, ends: bool) -> Path:
    """A model whose answer ends with the token that ends answers, or never does."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import (
        CLIPImageProcessor,
        CLIPVisionConfig,
        LlamaConfig,
        LlavaConfig,
        LlavaForConditionalGeneration,
        LlavaProcessor,
        PreTrainedTokenizerFast,
    )

    special = ["<unk>", "</s>", "<image>"]
    vocabulary = {word: index for index, word in enumerate([*special, *WORDS])}
    core = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", eos_token="</s>", additional_special_tokens=["<image>"]
    )
    pictures = CLIPImageProcessor(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28})
    LlavaProcessor(
        image_processor=pictures,
        tokenizer=tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        chat_template=TEMPLATE,
        num_additional_image_tokens=1,
    ).save_pretrained(folder)
    torch.manual_seed(3)
    tiny: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    model = LlavaForConditionalGeneration(
        LlavaConfig(
            vision_config=CLIPVisionConfig(image_size=28, patch_size=14, projection_dim=32, **tiny),
            text_config=LlamaConfig(vocab_size=len(vocabulary), eos_token_id=1, bos_token_id=1, pad_token_id=1, **tiny),
            image_token_index=2,
        )
    )
    with torch.no_grad():
        for part in model.parameters():
            part.mul_(4)  # the usual start is so small that no picture changes the words
    model.generation_config.forced_eos_token_id = 1 if ends else None
    model.generation_config.suppress_tokens = [0, 2] if ends else [0, 1, 2]
    model.generation_config.eos_token_id = 1
    model.save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def _fresh() -> None:
    module._load.cache_clear()


def said(config: CaptionConfig, source: ArraySource) -> Caption:
    caption = config.build("cpu").caption(ANNOTATION, source, NO_FILE)
    assert isinstance(caption, Caption)
    return caption


def test_a_local_model_puts_frames_into_words(tmp_path: Path) -> None:
    folder = saved(tmp_path / "tiny-vl", ends=True)
    config = captions_of_flags(str(folder), None)
    assert isinstance(config, LocalVlmConfig)
    first = said(config, footage(0))
    assert first.source == "tiny-vl"
    assert set(first.text.split()) <= set(WORDS)
    module._load.cache_clear()
    assert said(config, footage(0)) == first
    assert len({said(config, footage(seed)).text for seed in range(4)}) > 1  # it does look at the frames


def test_the_weights_count_and_their_place_does_not(tmp_path: Path) -> None:
    folder = saved(tmp_path / "tiny-vl", ends=True)
    before = config_dict(captions_of_flags(str(folder), None))
    moved = folder.rename(tmp_path / "moved")
    assert config_dict(captions_of_flags(str(moved), None)) == before
    weights = moved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x07")
    assert config_dict(captions_of_flags(str(moved), None)) != before


def test_an_answer_that_never_ends_fails_the_clip(tmp_path: Path) -> None:
    config = LocalVlmConfig(path=str(saved(tmp_path / "m", ends=False)), weights_hash="", max_tokens=8)
    with pytest.raises(ClipError, match="cut off") as caught:
        said(config, footage(0))
    assert (caught.value.stage, caught.value.code) == ("caption", "model_answer")


def test_another_folder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        captions_of_flags(str(tmp_path), None)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    config = captions_of_flags(str(tmp_path), None)
    assert config is not None
    with pytest.raises(InputError, match="expected a vision-language model") as caught:
        said(config, footage(0))
    assert "\n" not in str(caught.value)
