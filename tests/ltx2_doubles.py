"""A refiner of the released classes with random weights, a few thousand of them, as a folder."""

from pathlib import Path
from typing import Any

import torch
from diffusers.models.transformers.transformer_sana_wm_refiner import SanaWMLTX2RefinerTransformer3DModel
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.sana_wm.refiner import SanaWMLTX2Refiner
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import Gemma3Config, Gemma3ForConditionalGeneration, PreTrainedTokenizerFast

__all__ = ["saved_refiner", "tiny_refiner", "tiny_transformer"]

HIDDEN, LAYERS, TOKENS = 16, 2, 8


def tiny_transformer(channels: int, seed: int = 0) -> Any:
    """Two blocks of two heads; random everywhere, also where training begins at zero."""
    torch.manual_seed(seed)
    return SanaWMLTX2RefinerTransformer3DModel(
        in_channels=channels,
        out_channels=channels,
        num_attention_heads=2,
        attention_head_dim=12,
        cross_attention_dim=24,
        audio_in_channels=8,
        audio_out_channels=8,
        audio_num_attention_heads=1,
        audio_attention_head_dim=12,
        audio_cross_attention_dim=12,
        num_layers=2,
        caption_channels=HIDDEN,
    ).eval()


def tiny_refiner(channels: int) -> Any:
    """The whole pipeline but for a VAE."""
    torch.manual_seed(1)
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "a", "red", "room", "street"]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    text: dict[str, Any] = {
        "vocab_size": len(words),
        "hidden_size": HIDDEN,
        "intermediate_size": 24,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
        "pad_token_id": 0,
    }
    eyes = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 14,
    }
    config = Gemma3Config(text_config=text, vision_config={**eyes, "patch_size": 14}, mm_tokens_per_image=1)
    connectors = LTX2TextConnectors(
        caption_channels=HIDDEN,
        text_proj_in_factor=LAYERS + 1,
        video_connector_num_attention_heads=2,
        video_connector_attention_head_dim=HIDDEN // 2,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=TOKENS,
        audio_connector_num_attention_heads=2,
        audio_connector_attention_head_dim=HIDDEN // 2,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=TOKENS,
    )
    return SanaWMLTX2Refiner(
        transformer=tiny_transformer(channels),
        connectors=connectors,
        tokenizer=PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", unk_token="<unk>", padding_side="left"
        ),
        text_encoder=Gemma3ForConditionalGeneration(config).eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0),
        text_max_sequence_length=TOKENS,
    )


def saved_refiner(folder: Path, channels: int) -> Path:
    """Written as diffusers writes it."""
    tiny_refiner(channels).save_pretrained(folder)
    return folder
