"""Stages of the released schedule: which step keeps the output at its first moment, and how nearly."""

import pytest
import torch

from tests.unit.model.tiny import STRIDE, moving_cameras, noisy_latent, open_last_layer, sigmas, tiny_config
from wmkit.errors import ConfigError
from wmkit.model import CameraDiT
from wmkit.model.camera_branches import PluckerConfig, UcpeConfig
from wmkit.model.progressive import adopt

B, T = 2, 5
BARE = {"camera_attention": None, "camera_map": None, "depth": 4, "prediction": "velocity"}


def build(seed: int, **changes: object) -> CameraDiT:
    torch.manual_seed(seed)
    return CameraDiT(tiny_config(**{**BARE, **changes})).double()


def trained_linear(**sizes: object) -> CameraDiT:
    """A linear-attention model whose q, k, v and projections are random and whose gates are untouched."""
    model = open_last_layer(build(0, mixer="linear", softmax_every=0, **sizes))
    generator = torch.Generator().manual_seed(3)
    for name, parameter in model.named_parameters():
        if not name.split(".")[-2].startswith(("beta", "gate", "output_gate", "conv_k")) and parameter.ndim > 1:
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.data += 0.5 * parameter[0].numel() ** -0.5 * noise
    return model


def output(model: CameraDiT) -> torch.Tensor:
    with torch.no_grad():
        return model(noisy_latent(B, T, size=(4, 6)), sigmas(B, T), moving_cameras(B, 1 + STRIDE * (T - 1)))


def relative(one: torch.Tensor, other: torch.Tensor) -> float:
    return ((one - other).norm() / other.norm()).item()


def test_linear_attention_becomes_gdn_with_nearly_the_same_output() -> None:
    """Not exactly: the released initial gates forget 0.67 % a frame and erase up to one key direction of D a frame."""
    changes = {}
    for head_dim in (16, 112):
        sizes = {"width": 2 * head_dim, "heads": 2}
        linear = trained_linear(**sizes)
        gdn = build(1, softmax_every=0, **sizes)
        assert adopt(gdn, linear.state_dict()) == ()
        changes[head_dim] = relative(output(gdn), output(linear))
        others = relative(output(open_last_layer(build(1, softmax_every=0, **sizes))), output(linear))
        assert changes[head_dim] < others / 20, "other weights are something else altogether"
    print("linear -> GDN changes the output by", {head: f"{change:.4f}" for head, change in changes.items()})
    # Five frames, at most 1 / D erased and 0.67 % forgotten in each, in every block.
    assert 0 < changes[112] < changes[16] < 5 * (1 / 16 + 0.0067)
    assert changes[112] < 5 * (1 / 112 + 0.0067)


def test_without_forgetting_and_erasing_it_is_the_same_output() -> None:
    """The rule itself: keys that erase nothing and a decay of 1 are linear attention, exactly."""
    linear = trained_linear()
    weights = linear.state_dict()
    for name in weights:
        if name.endswith("attn.dt_bias"):
            weights[name] = torch.full_like(weights[name], -60.0)  # softplus of it is 1e-26: decay 1
        if name.endswith("attn.beta_proj.bias"):
            weights[name] = torch.full_like(weights[name], -20.0)  # beta 2e-9: writes little, cancelled by division
    gdn = build(1, softmax_every=0)
    adopt(gdn, weights)
    # The divisor's eps of 1e-8 weighs as much as written keys of size 2e-9 here: compare with beta's own size.
    change = relative(output(gdn), output(linear))
    assert change > 0.01, "the eps is seen"
    for name in weights:
        if name.endswith("attn.beta_proj.bias"):
            weights[name] = torch.full_like(weights[name], -9.0)  # beta 1.2e-4
    adopt(gdn, weights)
    assert relative(output(gdn), output(linear)) < 1e-3


@pytest.mark.parametrize("head_dim", [16, 112])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_shut_gates_keep_the_output_of_linear_attention(head_dim: int, dtype: torch.dtype) -> None:
    sizes = {"width": 2 * head_dim, "heads": 2}
    linear = trained_linear(**sizes)
    want = output(linear)
    gdn = build(1, softmax_every=0, **sizes)
    assert adopt(gdn, linear.state_dict(), gates="shut") == ()
    with torch.no_grad():
        latent, cameras = noisy_latent(B, T, size=(4, 6)), moving_cameras(B, 1 + STRIDE * (T - 1), dtype=dtype)
        got = gdn.to(dtype)(latent.to(dtype), sigmas(B, T).to(dtype), cameras)
    change = relative(got.double(), want)
    print(f"linear -> GDN with shut gates, heads of {head_dim}, {dtype}: {change:.1e}")
    # Five frames, beta of one key direction of D erased and 3e-7 forgotten in each, as above with open gates.
    assert change < 5 * (4.5e-5 / head_dim + 3e-7)
    assert change > 0


def test_shut_gates_are_for_that_step_alone() -> None:
    weights = trained_linear().state_dict()
    for changes in ({"mixer": "linear"}, {"camera_attention": UcpeConfig()}):
        with pytest.raises(ConfigError, match="expected mixer frame-gdn and no camera_attention for shut gates"):
            adopt(build(1, softmax_every=0, **changes), weights, gates="shut")
    hybrid = build(1, softmax_every=4)
    adopt(hybrid, weights, gates="shut")
    biases = [hybrid.state_dict()[f"blocks.{layer}.attn.beta_proj.bias"][0].item() for layer in range(4)]
    assert biases == [-10.0, -10.0, -10.0, 5.0], "softmax blocks read no gates"


def test_hybrid_keeps_every_weight_and_changes_the_rule() -> None:
    gdn = build(1, softmax_every=0)
    adopt(gdn, trained_linear().state_dict())
    hybrid = build(2, softmax_every=4)
    assert adopt(hybrid, gdn.state_dict()) == ()
    mine, theirs = hybrid.state_dict(), gdn.state_dict()
    assert set(theirs) - set(mine) == {"blocks.3.attn.conv_k.weight"}
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in mine.items())
    change = relative(output(hybrid), output(gdn))
    print(f"GDN -> hybrid changes the output by {change:.4f}")
    assert change > 0, "softmax reads otherwise; nothing in the released schedule hides that"


@pytest.mark.parametrize("softmax_every", [0, 4])
def test_cameras_change_nothing_at_first(softmax_every: int) -> None:
    before = build(1, softmax_every=softmax_every)
    adopt(before, {name: t for name, t in trained_linear().state_dict().items() if name in before.state_dict()})
    after = build(2, softmax_every=softmax_every, camera_attention=UcpeConfig(), camera_map=PluckerConfig())
    new = adopt(after, before.state_dict())
    assert torch.equal(output(after), output(before))
    assert all("_cam." in name or "plucker" in name for name in new)
    main, keys = before.state_dict()["blocks.0.attn.qkv.weight"], after.state_dict()["blocks.0.attn.k_proj_cam.weight"]
    assert torch.equal(keys, main.chunk(3)[1])


def test_other_differences_are_named() -> None:
    weights = trained_linear().state_dict()
    with pytest.raises(ConfigError, match=r"blocks\.4\.\S+ differs"):
        adopt(build(0, depth=5, softmax_every=0), weights)
    with pytest.raises(ConfigError, match="differs"):
        adopt(build(0, width=48, softmax_every=0), weights)
    with pytest.raises(ConfigError, match=r"blocks\.3\.\S+ differs"):
        adopt(build(0, depth=3, softmax_every=0), weights)
