"""The whole model: names, initial state, gradients, cameras, and that it can learn."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from tests.unit.house.source_tree import ROOT
from tests.unit.model.tiny import (
    HEIGHT,
    STRIDE,
    WIDTH,
    moving_cameras,
    noisy_latent,
    open_last_layer,
    sigmas,
    stirred,
    tiny_config,
    tiny_model,
)
from wmkit.errors import ConfigError, InputError
from wmkit.model import CameraBatch, CameraDiT, ModelConfig, PixelUnshuffle
from wmkit.model.attention import FrameAttention, linear_attention, symmetric_conv
from wmkit.model.block import Block
from wmkit.model.embed import sigma_embedding

B, T = 2, 3
FRAMES = 1 + STRIDE * (T - 1)


def velocity(model: CameraDiT, latent: torch.Tensor | None = None, cameras: CameraBatch | None = None) -> torch.Tensor:
    latent = noisy_latent(B, T) if latent is None else latent
    with torch.no_grad():
        return model(latent, sigmas(B, T), moving_cameras(B, FRAMES) if cameras is None else cameras)


def test_shapes_are_checked_while_tests_run() -> None:
    """The annotations at public boundaries are live: a transposed latent cannot pass."""
    with pytest.raises(TypeCheckError):
        tiny_model()(noisy_latent(B, T), sigmas(B, T + 1), moving_cameras(B, FRAMES))


def test_released_names_and_shapes() -> None:
    """Those of the sheet (state dict of the released bidirectional checkpoint) at the released size, less text."""
    config = ModelConfig(latent_channels=128, latent_stride=8, width=2240, depth=20, heads=20, prediction="velocity")
    with torch.device("meta"):
        model = CameraDiT(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    C = 2240
    want = {
        "x_embedder.proj.weight": (C, 128, 1, 1, 1),
        "plucker_embedder.proj.weight": (C, 48, 1, 1, 1),
        "t_embedder.linear_1.weight": (C, 256),
        "t_embedder.linear_2.weight": (C, C),
        "t_block.1.weight": (6 * C, C),
        "final_layer.scale_shift_table": (2, C),
        "final_layer.linear.weight": (128, C),
        "blocks.19.scale_shift_table": (6, C),
        "blocks.0.plucker_proj.weight": (C, C),
        "blocks.0.attn.A_log": (20,),
        "blocks.0.attn.dt_bias": (20,),
        "blocks.0.attn.qkv.weight": (3 * C, C),
        "blocks.0.attn.q_norm.weight": (C,),
        "blocks.0.attn.k_norm_cam.weight": (C,),
        "blocks.0.attn.beta_proj.weight": (20, C),
        "blocks.0.attn.gate_proj.bias": (20,),
        "blocks.0.attn.output_gate.bias": (C,),
        "blocks.0.attn.conv_k.weight": (C, 1, 4),
        "blocks.0.attn.conv_k_cam.weight": (C, 1, 4),
        "blocks.0.attn.out_proj_cam.bias": (C,),
        "blocks.0.mlp.inverted_conv.conv.weight": (13440, C, 1, 1),
        "blocks.0.mlp.depth_conv.conv.weight": (13440, 1, 3, 3),
        "blocks.0.mlp.point_conv.conv.weight": (C, 6720, 1, 1),
        "blocks.0.mlp.t_conv.weight": (C, C, 3, 1),
    }
    assert want.items() <= shapes.items()
    softmax = [i for i in range(20) if f"blocks.{i}.attn.conv_k.weight" not in shapes]
    assert softmax == [3, 7, 11, 15, 19]
    for absent in ("attn.qkv.bias", "mlp.point_conv.conv.bias", "mlp.t_conv.bias", "attn.conv_k.bias"):
        assert f"blocks.0.{absent}" not in shapes
    # The sheet's 870 tensors less text: per block cross_attn (3 linears, 2 norms: 8), the dead recall_gate; above the
    # blocks attention_y_norm, y_proj (4) and the dead raymap_embedder (2).
    assert len(shapes) == 870 - 20 * (8 + 1) - (1 + 4 + 2)


def test_config_survives_json() -> None:
    for config in (
        ModelConfig(),
        tiny_config(camera_attention=None),
        tiny_config(camera_map=None, prediction="velocity"),
    ):
        assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"widht": 64}, "unknown key widht"),
        ({"camera_attention": {"kind": "magic"}}, "unknown camera branch magic"),
        ({"camera_map": {"kind": "plucker", "size": 3}}, "unknown key size"),
        ({"width": 100, "heads": 4}, "multiple of 8"),
        ({"depth": 0}, "positive sizes"),
        ({"frequency_channels": 3}, "frequency_channels"),
    ],
)
def test_bad_configs_are_named(plain: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(plain)


def test_same_seed_same_model() -> None:
    one, other, different = tiny_model(3), tiny_model(3), tiny_model(4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.x_embedder.proj.weight, different.x_embedder.proj.weight)


def test_gates_start_as_linear_attention() -> None:
    model = tiny_model()
    attention = FrameAttention(model.config, 0)
    attention.reset_parameters()
    gates = attention.gates(torch.randn(1, 2, 3, 32, generator=torch.Generator().manual_seed(0)))
    # Released initial values: sigmoid(5), exp(-softplus(-5)), SiLU(1.27846) = 1.
    torch.testing.assert_close(gates.beta, torch.full_like(gates.beta, 0.99331), rtol=0, atol=1e-5)
    torch.testing.assert_close(gates.decay, torch.full_like(gates.decay, 0.99331), rtol=0, atol=1e-5)
    assert torch.nn.functional.silu(attention.output_gate.bias).mean().item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("prediction", ["clean", "velocity"])
def test_gradient_reaches_every_parameter(prediction: str) -> None:
    model = stirred(tiny_model(prediction=prediction))
    model(noisy_latent(B, T), sigmas(B, T), moving_cameras(B, FRAMES))[:, 1:].square().mean().backward()
    unused = ("beta_proj", "gate_proj", "A_log", "dt_bias")  # kept in softmax blocks for the checkpoint's sake
    for name, parameter in model.named_parameters():
        if name.startswith("blocks.2.attn.") and name.split(".")[3] in unused:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


def test_untrained_model_says_the_clean_latent_is_zero() -> None:
    latent = noisy_latent(B, T)
    assert not velocity(tiny_model(prediction="velocity")).any()
    torch.testing.assert_close(velocity(tiny_model(), latent)[:, 1:], latent[:, 1:] / 0.7)


def test_clean_frames_give_finite_velocity() -> None:
    assert velocity(stirred(tiny_model())).isfinite().all()


def test_world_axes_do_not_matter() -> None:
    cameras = moving_cameras(B, FRAMES)
    moved = CameraBatch(
        world_from_cam=moving_cameras(B, 1, seed=7).world_from_cam @ cameras.world_from_cam,
        intrinsics=cameras.intrinsics,
        width=WIDTH,
        height=HEIGHT,
    )
    model = stirred(tiny_model())
    torch.testing.assert_close(velocity(model, cameras=moved), velocity(model, cameras=cameras), rtol=1e-9, atol=1e-9)


def test_resized_pictures_are_the_same_cameras() -> None:
    cameras = moving_cameras(B, FRAMES)
    twice = CameraBatch(
        world_from_cam=cameras.world_from_cam, intrinsics=2 * cameras.intrinsics, width=2 * WIDTH, height=2 * HEIGHT
    )
    model = stirred(tiny_model())
    torch.testing.assert_close(velocity(model, cameras=twice), velocity(model, cameras=cameras))


def test_noise_level_of_a_frame_styles_that_frame() -> None:
    """At the start frames talk through attention alone, whose gate is small: the own frame must change most."""
    model = open_last_layer(tiny_model(prediction="velocity"))
    latent, cameras = noisy_latent(B, T), moving_cameras(B, FRAMES)
    sigma = sigmas(B, T)
    with torch.no_grad():
        before = model(latent, sigma, cameras)
        sigma[:, 2] = 0.1
        change = (model(latent, sigma, cameras) - before).abs().amax(dim=(0, 2, 3, 4))
    assert change[2] > 2 * change[:2].max() > 0


@pytest.mark.parametrize(("softmax_every", "mixes"), [(0, "gdn"), (1, "softmax")])
def test_every_frame_sees_every_other(softmax_every: int, mixes: str) -> None:
    """Bidirectional: a change in the first frame reaches the last and the other way round, by either kind."""
    model = stirred(tiny_model(softmax_every=softmax_every, depth=1))
    latent = noisy_latent(B, T)
    for changed, read in ((0, T - 1), (T - 1, 0)):
        other = latent.clone()
        other[:, changed, :, 0, 0] += 1.0
        assert not torch.equal(velocity(model, other)[:, read], velocity(model, latent)[:, read]), mixes


def test_odd_sizes_and_a_single_frame() -> None:
    model = stirred(tiny_model())
    latent = noisy_latent(1, 1, size=(3, 5))
    out = model(latent, sigmas(1, 1), moving_cameras(1, 1))
    assert out.shape == latent.shape
    assert out.isfinite().all()


def test_wrong_channels_and_frames_are_named() -> None:
    model = tiny_model()
    with pytest.raises(InputError, match="expected 6 channels, got 5"):
        model(noisy_latent(B, T)[:, :, :5], sigmas(B, T), moving_cameras(B, FRAMES))
    with pytest.raises(ConfigError, match=f"expected {FRAMES} video frames"):
        model(noisy_latent(B, T), sigmas(B, T), moving_cameras(B, FRAMES + 1))


@pytest.mark.usefixtures("without_shape_checks")
def test_noise_levels_masks_and_cameras_must_fit() -> None:
    model = tiny_model()
    latent, sigma, cameras = noisy_latent(2, 3), sigmas(2, 3), moving_cameras(2, 5)
    for bad in (sigma[:, :2], sigma[:1], sigma[:, 0]):
        with pytest.raises(InputError, match=r"sigma: expected a noise level a frame, \(2, 3\)"):
            model(latent, bad, cameras)
    for mask in (torch.ones(2, 2).bool(), torch.ones(2, 3)):
        with pytest.raises(InputError, match=r"valid: expected a boolean \(2, 3\)"):
            model(latent, sigma, cameras, valid=mask)
    with pytest.raises(InputError, match="expected those of 2 clips, got 3"):
        model(latent, sigma, moving_cameras(3, 5))
    with pytest.raises(InputError, match="at least one clip of one frame"):
        model(latent[:, :0], sigma[:, :0], None)


def test_autocast_rounds_no_camera_and_no_sum_over_tokens() -> None:
    """Its matrix products are bfloat16: at 24 m, positions would be 0.1 m off. Cameras and sums are as without it."""
    cameras = moving_cameras(1, 5, dtype=torch.float32)
    poses = cameras.world_from_cam.clone()
    poses[:, :, 2, 3] += torch.linspace(0, 24, 5)
    model = tiny_model().float()
    grid = model.grid(noisy_latent(1, 3).float())
    q = torch.randn(1, 2, 3, 6, 16, generator=torch.Generator().manual_seed(0))

    def fed() -> list[torch.Tensor]:
        _, maps = model._cameras(replace(cameras, world_from_cam=poses), grid, slice(None), torch.float32)
        assert maps is not None
        linear = linear_attention((q, q.relu()), (q.relu(), q.relu()), q)
        return [maps.query, maps.key, maps.output, maps.on_query(q), maps.on_key(q), maps.on_output(q), linear]

    with torch.no_grad():
        plain = fed()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            cast = fed()
            assert (q @ q.mT).dtype is torch.bfloat16
    assert all(torch.equal(one, other) for one, other in zip(cast, plain, strict=True))


COMPILED = """
import torch
from tests.unit.model.tiny import moving_cameras, noisy_latent, open_last_layer, sigmas, stirred, tiny_model
torch.set_num_threads(1)
model = stirred(open_last_layer(tiny_model(depth=2, softmax_every=2)))
inputs = noisy_latent(2, 3), sigmas(2, 3), moving_cameras(2, 5)
compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
outputs = [call(*inputs) for call in (compiled, model)]
grads = [torch.autograd.grad(out.square().mean(), learnt, materialize_grads=True) for out in outputs]
largest = max(x.abs().max() for x in (outputs[1], *grads[1]))
for got, want in zip((outputs[0], *grads[0]), (outputs[1], *grads[1]), strict=True):
    # float64: the same sums in another order, of terms as large as the largest gradient.
    assert ((got - want).abs().max() <= 1e-12 * largest).item()
print("one graph")
"""


@pytest.mark.timeout(300)
def test_the_whole_model_compiles_into_one_graph() -> None:
    """Several clips, GDN and softmax, both camera branches, all gradients; in a process without shape checks."""
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "one graph", done.stderr[-2000:]


def test_symmetric_convolution_is_causal_plus_anticausal() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 5, 3, 4, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 1, 4, generator=generator, dtype=torch.float64)

    def causal(x_BTSC: torch.Tensor) -> torch.Tensor:
        by_channel = torch.nn.functional.pad(x_BTSC.permute(0, 2, 3, 1).flatten(0, 1), (3, 0))
        y = torch.nn.functional.conv1d(by_channel, weight, groups=4)
        return y.unflatten(0, (2, 3)).permute(0, 3, 1, 2)

    want = causal(x) + causal(x.flip(1)).flip(1) - weight[:, 0, -1] * x
    got = symmetric_conv(x, weight)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(symmetric_conv(x.flip(1), weight).flip(1), got)


def test_softmax_block_is_blind_to_the_direction_of_time_but_for_positions() -> None:
    """Without RoPE and cameras, reversing the frames reverses what a softmax block says."""
    config = tiny_config(softmax_every=1, depth=1, camera_attention=None, camera_map=None)
    torch.manual_seed(0)
    block = Block(config, 0).double()
    x = torch.randn(1, 4, 2, 3, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    style, angles = torch.zeros(1, 4, 6, 32, dtype=torch.float64), torch.zeros(4, 6, 8, dtype=torch.float64)
    block.reset_parameters()
    torch.testing.assert_close(block(x.flip(1), style, angles, None, None).flip(1), block(x, style, angles, None, None))


def test_sigma_embedding_tells_levels_apart() -> None:
    levels = sigma_embedding(torch.tensor([0.0, 0.5, 0.501, 1.0], dtype=torch.float64), 16)
    assert torch.equal(levels[0], torch.tensor([1.0] * 8 + [0.0] * 8, dtype=torch.float64))
    assert (levels[1] - levels[2]).abs().max() > 0.1


def test_default_model_is_small() -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in CameraDiT(ModelConfig()).parameters())
    assert 1e6 < count < 3e6


def test_a_model_learns_one_clip() -> None:
    """Loss on a fixed batch with fixed noise falls by more than half within 40 steps."""
    torch.manual_seed(0)
    pixels = PixelUnshuffle(downscale=4, stride=STRIDE)
    config = tiny_config(latent_channels=pixels.channels, width=64, depth=2, heads=2, softmax_every=2)
    model = CameraDiT(config)
    cameras = moving_cameras(B, FRAMES, dtype=torch.float32)
    columns = (torch.arange(WIDTH) + 0.5) / WIDTH
    phase = cameras.world_from_cam[:, :, 0, 3][:, :, None, None, None]
    video = torch.sin(9 * columns + phase).expand(B, FRAMES, 3, HEIGHT, WIDTH)
    x0 = pixels.encode(video.contiguous())
    eps, sigma = torch.randn_like(x0), sigmas(B, T).float()
    mix = sigma[:, :, None, None, None]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(40):
        loss = (model((1 - mix) * x0 + mix * eps, sigma, cameras) - (eps - x0))[:, 1:].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
