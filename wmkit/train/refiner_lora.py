"""Training LTX-2 as a refiner: low-rank adapters on attention and MLP, and the velocity that their loss is of.

arXiv 2605.15178, appendix A: adapters of rank 384 on Q, K, V, output and MLP of the multi-step base, trained by the
truncated flow of `wmkit.train.refine` and then added to the distilled model, which has the same names. The adapters
are peft's. Reference tokens come first, clean and without loss; they read themselves alone, all others read them too.
As in the public bidirectional code the mask is two calls of attention, so no matrix of all pairs is made.
Shapes: B batch, T latent frames, C channels, h w latent rows and columns, N tokens, L text tokens, D of a token.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as nnf

from wmkit.errors import ConfigError, InputError
from wmkit.model.ltx2_refiner import of_tokens, tokens_of
from wmkit.model.refiner import SINK_FRAMES
from wmkit.train.objective import Noised

__all__ = ["LORA_MODULES", "LoraSettings", "add_lora", "merge_lora", "reference_velocity"]

LORA_MODULES = (
    "attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0",
    "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0",
    "ff.net.0.proj", "ff.net.2",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSettings:
    """`rank` of every adapter, published: 384; `alpha` over rank scales what it adds, None: by 1, as is our reading."""

    rank: int = 384
    alpha: int | None = None

    def __post_init__(self) -> None:
        if self.rank < 1 or (self.alpha is not None and not self.alpha > 0):
            raise ConfigError(f"lora: expected rank >= 1 and a positive alpha, got {self.rank} and {self.alpha}")


def add_lora(transformer: Any, settings: LoraSettings, seed: int) -> list[nn.Parameter]:
    """Put adapters into the video half of a refiner's transformer, in place; the parameters to train, no others.

    They begin as nothing. InputError where peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise InputError(f"lora: expected peft, got: {error}; install the extra 'lora'") from error

    names = [name for name, module in transformer.named_modules() if isinstance(module, nn.Linear)]
    chosen = [name for name in names if name.split(".", 2)[-1] in LORA_MODULES]
    if len(chosen) != len(LORA_MODULES) * len(transformer.transformer_blocks):
        raise ConfigError(
            f"lora: expected {len(LORA_MODULES)} layers to adapt in every block, found {len(chosen)} in all"
        )
    transformer.requires_grad_(False)
    alpha = settings.rank if settings.alpha is None else settings.alpha
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = LoraConfig(r=settings.rank, lora_alpha=alpha, target_modules=chosen)
        inject_adapter_in_model(config, transformer)
    return [parameter for parameter in transformer.parameters() if parameter.requires_grad]


@torch.no_grad()
def merge_lora(adapted: Any, into: Any) -> None:
    """Add what the adapters of one transformer have learnt to the weights of another of the same names, in place.

    As the paper merges adapters trained on the base into the distilled model. ConfigError for another model.
    """
    layers = {name: module for name, module in adapted.named_modules() if hasattr(module, "get_delta_weight")}
    if not layers:
        raise ConfigError("lora: expected a model with adapters, found none")
    targets = dict(into.named_modules())
    for name, layer in layers.items():
        target = targets.get(name)
        if not isinstance(target, nn.Linear) or target.weight.shape != layer.base_layer.weight.shape:
            raise ConfigError(
                f"lora: expected a layer {name} of shape {tuple(layer.base_layer.weight.shape)} to add to"
            )
    for name, layer in layers.items():
        for adapter in layer.active_adapters:
            targets[name].weight.add_(layer.get_delta_weight(adapter))


def reference_velocity(
    transformer: Any, target: Noised, caption: tuple[Tensor, Tensor], fps: float
) -> Float[Tensor, "B T C h w"]:
    """The velocity of a clip whose first frame is the reference; `caption` are states (B, L, D) and mask (B, L).

    With gradients, for `wmkit.train.objective.flow_loss`; what it says of the reference means nothing.
    """
    latent = target.latent
    batch, frames, _, rows, columns = latent.shape
    angles = transformer.build_rotary_emb_for_absolute_positions(
        batch_size=batch,
        frame_positions=list(range(frames)),
        height=rows,
        width=columns,
        device=latent.device,
        fps=fps,
    )
    levels = target.sigma.repeat_interleave(rows * columns, dim=1) * transformer.config.timestep_scale_multiplier
    states, mask = caption
    with _references_first(transformer, SINK_FRAMES * rows * columns):
        velocity = transformer(
            hidden_states=tokens_of(latent),
            encoder_hidden_states=states,
            timestep=levels,
            video_rotary_emb=angles,
            encoder_attention_mask=mask,
            return_dict=False,
        )[0]
    return of_tokens(velocity, latent)


@contextlib.contextmanager
def _references_first(transformer: Any, tokens: int) -> Iterator[None]:
    """Self-attention as in training, for a while: the first `tokens` tokens of a clip are its references."""
    layers = [block.attn1 for block in transformer.transformer_blocks]
    for layer in layers:
        layer.forward = partial(_attention, layer, tokens)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # the class' own shows again


def _attention(
    attn: Any,
    references: int,
    hidden_states: Float[Tensor, "B N D"],
    query_rotary_emb: tuple[Tensor, Tensor],
    sink_rotary_emb: object,
    kv_cache: object,
    kv_cache_mode: object,
) -> Float[Tensor, "B N D"]:
    """Two calls of attention. ValueError for caches of sampling: a pass of training has none."""
    if not (sink_rotary_emb is None and kv_cache is None and kv_cache_mode is None):
        raise ValueError("refiner: expected a pass of training without caches")
    from diffusers.models.transformers import transformer_sana_wm_refiner as theirs

    split = attn.rope_type == "split"
    rotated = theirs.apply_split_rotary_emb if split else theirs.apply_interleaved_rotary_emb
    q = rotated(attn.norm_q(attn.to_q(hidden_states)), query_rotary_emb)
    k = rotated(attn.norm_k(attn.to_k(hidden_states)), query_rotary_emb)
    q, k, v = (x.unflatten(2, (attn.heads, -1)).transpose(1, 2) for x in (q, k, attn.to_v(hidden_states)))
    n = references
    own = nnf.scaled_dot_product_attention(q[:, :, :n], k[:, :, :n], v[:, :, :n])
    others = nnf.scaled_dot_product_attention(q[:, :, n:], k, v)
    out = torch.cat([own, others], dim=2).transpose(1, 2).flatten(2)
    if attn.to_gate_logits is not None:
        gates = 2 * torch.sigmoid(attn.to_gate_logits(hidden_states))
        out = (out.unflatten(2, (attn.heads, -1)) * gates.unsqueeze(-1)).flatten(2)
    return attn.to_out[1](attn.to_out[0](out))
