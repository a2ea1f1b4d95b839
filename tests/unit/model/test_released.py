"""What the released architecture has and the pixel models do not: text, padding, its quirks, both renormalisations."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.model.tiny import HEIGHT, STRIDE, WIDTH, moving_cameras, noisy_latent, sigmas, stirred, tiny_model
from wmkit.camera import Intrinsics, ScaleKind, Trajectory
from wmkit.errors import ConfigError, InputError
from wmkit.model import CameraBatch, CameraDiT, ModelConfig
from wmkit.model.attention import FrameAttention, linear_attention, renormed
from wmkit.model.config import TextConfig
from wmkit.model.embed import sigma_embedding
from wmkit.model.ops.frame_gdn import frame_gdn, key_scale
from wmkit.model.presets import PRESETS, preset
from wmkit.model.rays import LatentGrid, plucker_map, ray_directions, ray_from_world, relative_to_first
from wmkit.model.stream import Scope
from wmkit.model.text import HashedText, TextBatch

B, T = 2, 4
FRAMES = 1 + STRIDE * (T - 1)
TEXT = TextConfig(channels=8, tokens=5)


def captions(seed: int = 0, lengths: tuple[int, ...] = (5, 3)) -> TextBatch:
    generator = torch.Generator().manual_seed(seed)
    states = torch.randn(len(lengths), 5, 8, generator=generator, dtype=torch.float64)
    return TextBatch(states=states, mask=torch.arange(5)[None] < torch.tensor(lengths)[:, None])


@torch.no_grad()
def velocity(model: CameraDiT, text: TextBatch | None = None, valid: torch.Tensor | None = None) -> torch.Tensor:
    return model(noisy_latent(B, T), sigmas(B, T), moving_cameras(B, FRAMES), text, valid)


def test_text_is_heard_and_padding_is_not() -> None:
    model = stirred(tiny_model(text=TEXT))
    text = captions()
    states = text.states.clone()
    states[1, 3:] = 1e3
    quiet = TextBatch(states=states, mask=text.mask)
    torch.testing.assert_close(velocity(model, quiet), velocity(model, text))
    assert (velocity(model, captions(1)) - velocity(model, text)).abs().amax(dim=(2, 3, 4)).min() > 1e-6


def test_gradient_reaches_the_text_parameters() -> None:
    model = stirred(tiny_model(text=TEXT))
    model(noisy_latent(B, T), sigmas(B, T), None, captions())[:, 1:].square().mean().backward()
    heard = [(n, p) for n, p in model.named_parameters() if n.startswith(("y_embedder", "attention_y")) or "cross" in n]
    assert len(heard) == 4 + 1 + 3 * 8
    for name, parameter in heard:
        assert parameter.grad is not None, name
        # A bias of all keys moves every score of a query alike: softmax does not see it, but the norm after it does.
        assert parameter.grad.abs().max() > 0, name


def test_no_text_is_the_null_caption_or_an_error() -> None:
    with pytest.raises(InputError, match="expected captions, got none"):
        velocity(tiny_model(text=TEXT))
    with pytest.raises(InputError, match="this model has no text"):
        velocity(tiny_model(), captions())
    with pytest.raises(InputError, match="expected 2 captions of 8 channels, got 2 of 3"):
        velocity(tiny_model(text=TEXT), TextBatch(states=captions().states[..., :3], mask=captions().mask))
    model = stirred(tiny_model(text=replace(TEXT, null_caption=True)))
    null = model.state_dict()["y_embedder.y_embedding"]
    said = TextBatch(states=null.expand(B, -1, -1), mask=torch.ones(B, 5, dtype=torch.bool))
    assert torch.equal(velocity(model), velocity(model, said))


def test_text_norm_starts_at_its_scale() -> None:
    model = tiny_model(text=TEXT)
    assert model.attention_y_norm is not None
    torch.testing.assert_close(model.attention_y_norm.weight.float(), torch.full((32,), 0.01))


@pytest.mark.parametrize("mixer", ["frame-gdn", "linear"])
@pytest.mark.parametrize("softmax_every", [0, 2])
def test_padded_frames_are_as_if_they_were_not_there(softmax_every: int, mixer: str) -> None:
    """The property, with garbage in the padding: every block, convolution and camera map leaves the others alone."""
    model = stirred(tiny_model(text=TEXT, softmax_every=softmax_every, mixer=mixer))
    short, cameras, text = noisy_latent(B, T), moving_cameras(B, FRAMES), captions()
    extra = 2
    garbage = 1e3 * noisy_latent(B, extra, seed=9)
    held = CameraBatch(
        world_from_cam=torch.cat([cameras.world_from_cam, cameras.world_from_cam[:, -1:].repeat(1, 4, 1, 1)], dim=1),
        intrinsics=torch.cat([cameras.intrinsics, cameras.intrinsics[:, -1:].repeat(1, 4, 1)], dim=1),
        width=WIDTH,
        height=HEIGHT,
    )
    valid = torch.arange(T + extra)[None].expand(B, -1) < T
    with torch.no_grad():
        want = model(short, sigmas(B, T), cameras, text)
        got = model(torch.cat([short, garbage], 1), sigmas(B, T + extra), held, text, valid)
        assert not torch.allclose(model(torch.cat([short, garbage], 1), sigmas(B, T + extra), held, text)[:, :T], want)
    assert got.isfinite().all()
    torch.testing.assert_close(got[:, :T], want)


def test_all_frames_valid_is_no_mask() -> None:
    model = stirred(tiny_model(softmax_every=2))
    torch.testing.assert_close(velocity(model, None, torch.ones(B, T, dtype=torch.bool)), velocity(model))


def test_cameras_can_be_left_out() -> None:
    model = stirred(tiny_model())
    bare = tiny_model(camera_attention=None, camera_map=None)
    bare.load_state_dict({name: tensor for name, tensor in model.state_dict().items() if name in bare.state_dict()})
    with torch.no_grad():
        assert torch.equal(model(noisy_latent(B, T), sigmas(B, T), None), velocity(bare))


def test_linear_attention_is_gdn_that_neither_forgets_nor_erases() -> None:
    """Keys that are orthogonal to what was written before erase nothing: both rules then say the same."""
    q, v = torch.rand(2, 1, 1, 3, 2, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    k = torch.eye(6, dtype=torch.float64).view(1, 1, 3, 2, 6) * key_scale(6, 2)
    want = frame_gdn((q, k), (q, k), v, torch.ones(1, 1, 3, 2).double(), torch.ones(1, 1, 3).double())
    torch.testing.assert_close(linear_attention((q, k), (q, k), v), want)


# ---- camera renormalisation ----


def camera_half(length_m: float, renorm: str) -> torch.Tensor:
    """What the camera half of one GDN attention reads, along a straight path of that length."""
    torch.manual_seed(0)
    config = ModelConfig(width=224, heads=2, camera_renorm=renorm)  # type: ignore[arg-type]
    attention = FrameAttention(config, 0).double()
    poses = torch.eye(4, dtype=torch.float64).repeat(1, FRAMES, 1, 1)
    poses[0, :, 2, 3] = torch.linspace(0, length_m, FRAMES, dtype=torch.float64)
    cameras = CameraBatch(
        world_from_cam=poses, intrinsics=moving_cameras(1, FRAMES).intrinsics, width=WIDTH, height=HEIGHT
    )
    grid = LatentGrid(frames=T, rows=2, columns=3, stride=STRIDE)
    assert config.camera_attention is not None
    maps = config.camera_attention.token_maps(cameras, grid, 112, 10_000.0)
    x = torch.randn(1, T, 6, 224, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    with torch.no_grad():
        return attention._camera(x, maps, attention.gates(x), Scope())


def test_renormalisation_matters_more_the_longer_the_path() -> None:
    growth = {}
    for length_m in (0.0, 0.5, 2.0, 8.0, 24.0):
        none, rms = camera_half(length_m, "none"), camera_half(length_m, "rms")
        growth[length_m] = ((none - rms).norm() / none.norm()).item()
    print("camera half, none against rms:", {length: f"{value:.3f}" for length, value in growth.items()})
    assert growth[0.0] < 1e-12, "turning keeps every size"
    assert list(growth.values()) == sorted(growth.values())
    assert growth[24.0] > 0.5 > 0.1 > growth[0.5]


def test_renormed_tokens_are_never_larger_and_keep_their_direction() -> None:
    before, after = torch.randn(2, 1, 2, 3, 4, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    shrunk = renormed(before, 3 * after)
    ratio = shrunk / (3 * after)
    torch.testing.assert_close(ratio, ratio[..., :1].expand_as(ratio))
    size, allowed = shrunk.square().mean(-1).sqrt(), before.square().mean(-1).sqrt()
    assert (size <= allowed + 1e-6).all(), "1e-6 is the guard against a division by zero, in squares"
    larger = (3 * after).square().mean(-1) > before.square().mean(-1)
    assert larger.any()
    torch.testing.assert_close(size[larger], allowed[larger], rtol=1e-4, atol=0)
    torch.testing.assert_close(renormed(before, 0.1 * before), 0.1 * before)


# ---- the released packing ----


def test_released_rays_go_through_corners() -> None:
    row = moving_cameras(1, 1).intrinsics
    ours = ray_directions(row, (WIDTH, HEIGHT), (2, 3))
    released = ray_directions(row, (WIDTH, HEIGHT), (2, 3), "sana-wm")
    shifted = row.clone()
    shifted[..., 2] -= WIDTH / 3 / 2
    shifted[..., 3] -= HEIGHT / 2 / 2
    torch.testing.assert_close(ray_directions(shifted, (WIDTH, HEIGHT), (2, 3), "sana-wm"), ours)
    assert (released - ours).abs().max() > 0.05


def test_released_first_latent_frame_sees_the_future() -> None:
    cameras = moving_cameras(1, FRAMES)
    grid = LatentGrid(frames=T, rows=2, columns=3, stride=STRIDE, compat="sana-wm")
    released = plucker_map(cameras, grid)
    later = moving_cameras(1, FRAMES, seed=4).world_from_cam
    changed = cameras.world_from_cam.clone()
    changed[:, STRIDE - 1] = later[:, STRIDE - 1]
    others = CameraBatch(world_from_cam=changed, intrinsics=cameras.intrinsics, width=WIDTH, height=HEIGHT)
    assert not torch.equal(plucker_map(others, grid)[:, 0], released[:, 0])
    assert torch.equal(
        plucker_map(others, replace(grid, compat="none"))[:, 0],
        plucker_map(cameras, replace(grid, compat="none"))[:, 0],
    )
    # The other latent frames see the same video frames in both, through rays half a cell apart.
    assert torch.equal(ray_from_world(others, grid)[:, 0], ray_from_world(cameras, grid)[:, 0])
    single = LatentGrid(frames=1, rows=2, columns=3, stride=STRIDE, compat="sana-wm")
    alone = plucker_map(moving_cameras(1, 1), single)
    assert torch.equal(alone[:, :, :6], alone[:, :, 6:]), "fewer frames than a stride: the last one repeated"


def test_released_timesteps_are_whole() -> None:
    near = torch.tensor([0.7001, 0.7009])
    one, other = sigma_embedding(near, 16, "sana-wm")
    assert torch.equal(one, other)
    one, other = sigma_embedding(near, 16)
    assert not torch.equal(one, other)
    assert sigma_embedding(near.bfloat16(), 16).dtype == torch.float32, "bfloat16 cannot count to 1000"


# ---- presets, JSON, other dtypes, typed cameras ----


def test_presets_survive_json_and_are_the_sizes_they_say() -> None:
    for name, config in PRESETS.items():
        assert ModelConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config, name
        with torch.device("meta"):
            count = sum(parameter.numel() for parameter in CameraDiT(config).parameters())
        if name != "tiny":
            number, unit = float(name.split("-")[-1][:-1]), {"b": 1e9, "m": 1e6}[name[-1]]
            assert count == pytest.approx(number * unit, rel=0.03), name
    with pytest.raises(ConfigError, match=r"expected one of sana-wm-2\.6b, .*, got 'large'"):
        preset("large")


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"compat": "sana"}, "expected compat none or sana-wm"),
        ({"camera_renorm": "l2"}, "expected camera_renorm none or rms"),
        ({"mixer": "mamba"}, "expected mixer frame-gdn or linear or token-gdn"),
        ({"text": {"chanels": 3}}, "model.text: expected null or an object"),
        ({"text": {"tokens": 1}}, "tokens >= 2"),
        ({"text": {"channels": "a"}}, "got 'a'"),
        ({"text": {"norm_scale": float("nan")}}, "norm_scale > 0"),
        ({"text": {"null_caption": 3}}, "null_caption true or false"),
        ({"width": "128"}, "got {'width': '128'}"),
        ({"depth": True}, "got {'depth': True}"),
        ({"heads": None}, "got {'heads': None}"),
        ({"softmax_every": 2.5}, "got {'softmax_every': 2.5}"),
        ({"mlp_ratio": float("nan")}, "got {'mlp_ratio': nan}"),
        ({"rope_theta": float("inf")}, "got {'rope_theta': inf}"),
        ({"camera_map": "plucker"}, "expected a camera branch"),
        ({"camera_map": {"kind": ["plucker"]}}, "unknown camera branch"),
    ],
)
def test_bad_settings_are_named(plain: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ModelConfig.from_dict(plain)


def test_a_config_of_an_earlier_version_still_reads() -> None:
    plain = ModelConfig().to_dict()
    for key in ("camera_renorm", "mixer", "text", "compat"):
        del plain[key]
    assert ModelConfig.from_dict(plain) == ModelConfig()


def test_bfloat16_is_close_to_float64() -> None:
    model = stirred(tiny_model(text=TEXT, compat="sana-wm", prediction="velocity"))
    want = velocity(model, captions())
    text = captions()
    half = TextBatch(states=text.states.bfloat16(), mask=text.mask)
    cameras = moving_cameras(B, FRAMES, dtype=torch.float32)
    with torch.no_grad():
        got = model.bfloat16()(noisy_latent(B, T).bfloat16(), sigmas(B, T).float(), cameras, half)
    assert got.dtype == torch.bfloat16
    # Three blocks of some ten roundings of 2^-9 each.
    assert ((got.double() - want).norm() / want.norm()).item() < 0.05


def test_typed_cameras_are_packed_once_and_exactly() -> None:
    batch = moving_cameras(B, FRAMES)
    clips = []
    for poses, rows in zip(batch.world_from_cam.numpy(), batch.intrinsics.numpy(), strict=True):
        trajectory = Trajectory(
            world_from_cam=poses,
            time_s=np.arange(FRAMES) / 16,
            posed=np.ones(FRAMES, dtype=bool),
            scale=ScaleKind.METRIC,
        )
        keys = ("fx", "fy", "cx", "cy")
        clips.append(
            (trajectory, [Intrinsics(**dict(zip(keys, row, strict=True)), width=WIDTH, height=HEIGHT) for row in rows])
        )
    made = CameraBatch.from_trajectories(clips, torch.float64)
    torch.testing.assert_close(made.world_from_cam, relative_to_first(batch.world_from_cam), rtol=0, atol=1e-14)
    assert torch.equal(made.intrinsics, batch.intrinsics)
    assert (made.width, made.height) == (WIDTH, HEIGHT)
    with pytest.raises(InputError, match="expected clips of one length"):
        CameraBatch.from_trajectories([clips[0], (clips[1][0], clips[1][1][:-1])])
    with pytest.raises(InputError, match="expected clips of one length"):
        CameraBatch.from_trajectories([])


# ---- hashed text ----


def test_hashed_text_tells_captions_apart_and_is_the_same_everywhere() -> None:
    encoder = HashedText(channels=300, tokens=6)
    text = encoder.encode(["A red room", "a RED room!", "a blue room", ""])
    assert torch.equal(text.states[0], text.states[1])
    assert text.mask.sum(dim=1).tolist() == [4, 4, 4, 1]
    assert (text.states[0] != text.states[2]).any(dim=1).tolist() == [False, False, True, False, False, False]
    cosine = torch.nn.functional.cosine_similarity(text.states[0, 2], text.states[2, 2], dim=0).item()
    assert abs(cosine) < 5 / 300**0.5, "five sigmas of two random directions"
    # The bits of the first byte of SHA-256 of "0:<bos>", lowest first.
    assert text.states[3, 0, :8].tolist() == [-1, 1, -1, -1, -1, 1, 1, 1]
    long = encoder.encode(["one two three four five six seven"])
    assert long.mask.all()
    with pytest.raises(InputError, match="at least one text"):
        encoder.encode([])
    with pytest.raises(ConfigError, match="hashed text"):
        HashedText(tokens=0)


def test_text_batches_check_themselves() -> None:
    good = captions()
    with pytest.raises(InputError, match="at least one token a caption"):
        TextBatch(states=good.states, mask=torch.zeros_like(good.mask))
