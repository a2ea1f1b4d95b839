"""Tiny random instances of the real VAEs and of Gemma-2, as their packages write them."""

from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_dc import AutoencoderDC
from diffusers.models.autoencoders.autoencoder_kl_ltx2 import AutoencoderKLLTX2Video
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

from wmkit.model.gemma import INSTRUCTION
from wmkit.model.vae import VaeKind

__all__ = ["tiny_gemma", "tiny_module", "tiny_tokenizer"]


def tiny_module(kind: VaeKind, **changes: Any) -> Any:
    torch.manual_seed(0)
    if kind == "ltx2":
        sizes: dict[str, Any] = {
            "latent_channels": 16,
            "block_out_channels": (8, 16, 32, 64),
            "decoder_block_out_channels": (8, 16, 32),
            "layers_per_block": (1,) * 5,
            "decoder_layers_per_block": (1,) * 4,
            "patch_size": 4,
            "decoder_causal": False,
            "decoder_spatial_padding_mode": "zeros",
            # Without these two the attributes read 64 and 16 while the tensors are 32 and 8.
            "spatial_compression_ratio": 32,
            "temporal_compression_ratio": 8,
        }
        module = AutoencoderKLLTX2Video(**{**sizes, **changes})
        module.latents_mean.normal_()
        module.latents_std.uniform_(0.5, 2)
        return module
    if kind == "wan":
        statistics = {"latents_mean": [0.5, -0.25, 0.0, 1.0], "latents_std": [2.0, 0.5, 1.0, 4.0]}
        return AutoencoderKLWan(base_dim=8, z_dim=4, num_res_blocks=1, **{**statistics, **changes})
    blocks = {
        "encoder_block_out_channels": (8, 16, 16),
        "decoder_block_out_channels": (8, 16, 16),
        "encoder_layers_per_block": (1, 1, 1),
        "decoder_layers_per_block": (1, 1, 1),
        "encoder_qkv_multiscales": ((), (), ()),
        "decoder_qkv_multiscales": ((), (), ()),
    }
    return AutoencoderDC(latent_channels=4, scaling_factor=0.41407, **{**blocks, **changes})


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Words of the instruction and a few more, each a token; <bos> in front, as Gemma's."""
    words = pre_tokenizers.Whitespace().pre_tokenize_str(INSTRUCTION + " a red room with two doors and a window")
    names = ["<pad>", "<bos>", "<unk>", *dict.fromkeys(word for word, _ in words)]
    tokenizer = Tokenizer(models.WordLevel({name: index for index, name in enumerate(names)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", bos_token="<bos>", unk_token="<unk>", padding_side="left"
    )


def tiny_gemma(vocabulary: int) -> Gemma2ForCausalLM:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": 4}
    config = Gemma2Config(vocab_size=vocabulary, num_key_value_heads=2, head_dim=8, pad_token_id=0, **sizes)
    return Gemma2ForCausalLM(config).eval()
