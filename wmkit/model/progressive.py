"""One training stage's weights as the start of the next: linear attention -> frame-wise GDN -> hybrid -> cameras.

SANA-WM's schedule (arXiv 2605.15178, Table 7) changes the architecture between stages and keeps the weights. What each
step does to the output at its first moment (measured by tests/unit/model/test_progressive.py on drawn weights, and by
tests/unit/train/test_recipes.py on trained ones: 1.8 % to open gates, 2e-6 to shut ones, 1.8 % to hybrid, 0 to cameras,
4.5 % to chunks, whose frames lose what comes after):
- to frame-wise GDN: the gates start nearly open (beta 0.9933, decay 0.9933) and the keys' convolution as the identity,
  so the output moves by what is forgotten and erased in T frames: 0.6 % at heads of 112 channels and 5 frames, 4 %
  at heads of 16. `gates="shut"` (of a run: `start_gates`) keeps it: with beta 4.5e-5 nothing to speak of is erased, and
  since beta is in numerator and divisor alike, it cancels; 2e-7 and 3e-6 there. A smaller beta would bring the divisor
  down to its eps of 1e-8 (beta 2e-9 moves the output by more than 1 %). Gates so far shut get gradients as small as
  their beta and what they forget: they open slowly. Released training starts them open, and so do the recipes;
- to hybrid: a softmax block reads the same q, k, v by another rule, so the output does move (14 % there, one block of
  four), and no weights could keep it: what softmax says is a mean of values with positive weights that the logits'
  exponentials share out, linear attention's weights are products of ReLUs, of rank D and often zero. Every weight
  stays, but the keys' convolutions of such blocks go;
- to cameras: exactly zero, both branches begin with one zero factor;
- to latents of another VAE: all of it, since the cells' embedding and the last layer begin anew.
"""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from wmkit.errors import ConfigError
from wmkit.model.attention import FrameAttention
from wmkit.model.dit import CameraDiT

__all__ = ["adopt"]

OF_LATENTS = ("x_embedder.", "final_layer.linear.")
SHUT_BETA_BIAS = -10.0  # beta 4.5e-5: a frame erases as little, and the divisor is still far above its eps
SHUT_DT_BIAS = -15.0  # 3e-7 of the state forgotten a frame


@torch.no_grad()
def adopt(
    model: CameraDiT,
    weights: Mapping[str, Tensor],
    *,
    new_latents: bool = False,
    gates: Literal["stored", "shut"] = "stored",
) -> tuple[str, ...]:
    """Put an earlier stage's weights into a fresh `model`; the names that stay at their initial values.

    New may be camera branches and nothing else; their queries, keys, values, norms and convolutions begin as copies of
    the main ones (released `init_cam_from_base`). Gone may be the key convolutions of blocks that are softmax now.
    With `new_latents` what reads and writes latents stays at its initial values, whatever its size was.
    `gates="shut"`, for the step from linear attention: gates that neither erase nor forget, in place of the stored,
    released ones; see the module. Raises ConfigError for any other difference of names or shapes, and for shut gates
    of a model that is not frame-wise GDN without a camera half: that half has no divisor to cancel beta.
    """
    if gates == "shut" and (model.config.mixer != "frame-gdn" or model.config.camera_attention is not None):
        raise ConfigError("stage: expected mixer frame-gdn and no camera_attention for shut gates; keep the stored")
    own = model.state_dict()
    if new_latents:
        weights = {name: tensor for name, tensor in weights.items() if not name.startswith(OF_LATENTS)}
    new = sorted(set(own) - set(weights))
    gone = sorted(set(weights) - set(own))
    odd = [name for name in new if not (_is_camera(name) or (new_latents and name.startswith(OF_LATENTS)))] + [
        name for name in gone if not _is_key_convolution(name)
    ]
    odd += [name for name in sorted(set(own) & set(weights)) if own[name].shape != weights[name].shape]
    if odd:
        raise ConfigError(
            f"stage: expected weights of the same model but for cameras and softmax blocks, {odd[0]} differs "
            f"({len(odd)} in all); use the earlier stage's sizes"
        )
    model.load_state_dict({**own, **{name: weights[name] for name in weights if name in own}})
    for prefix, module in model.named_modules():
        if isinstance(module, FrameAttention) and module.has_camera and f"{prefix}.q_proj_cam.weight" in new:
            _begin_camera_as_main(module)
    if gates == "shut":
        for module in model.modules():
            if isinstance(module, FrameAttention) and not module.softmax:
                _shut_gates(module)
    return tuple(new)


def _shut_gates(attention: FrameAttention) -> None:
    for linear, bias in ((attention.beta_proj, SHUT_BETA_BIAS), (attention.gate_proj, 0.0)):
        nn.init.zeros_(linear.weight)
        nn.init.constant_(linear.bias, bias)
    nn.init.zeros_(attention.A_log)
    nn.init.constant_(attention.dt_bias, SHUT_DT_BIAS)


def _begin_camera_as_main(attention: FrameAttention) -> None:
    for linear, part in zip(
        (attention.q_proj_cam, attention.k_proj_cam, attention.v_proj_cam),
        attention.qkv.weight.chunk(3),
        strict=True,
    ):
        linear.weight.copy_(part)
    pairs: list[tuple[nn.Module | None, nn.Module | None]] = [
        (attention.q_norm_cam, attention.q_norm),
        (attention.k_norm_cam, attention.k_norm),
        (attention.conv_k_cam, attention.conv_k),
    ]
    for camera, main in pairs:
        if camera is not None and main is not None:
            camera.load_state_dict(main.state_dict())


def _is_camera(name: str) -> bool:
    return "_cam." in name or "plucker" in name


def _is_key_convolution(name: str) -> bool:
    return name.endswith((".attn.conv_k.weight", ".attn.conv_k_cam.weight"))
