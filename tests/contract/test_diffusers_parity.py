"""Our model and diffusers' `SanaWMTransformer3DModel` with the same weights say the same: an independent oracle.

diffusers is in the `dev` extra, so its absence is an error here and not a skip. Three things it does otherwise, each
pinned by a test below:
- it always shrinks the camera branch's q, k and v (`camera_renorm="rms"`), the released code does not;
- its softmax blocks round q, k and v to bfloat16 before attention, also in float32;
- its frame mask leaves masked frames in the main softmax's denominator and in the temporal convolution of the MLP.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.transformers.transformer_sana_wm import SanaWMTransformer3DModel
from diffusers.pipelines.sana_wm.cam_utils import prepare_camera
from safetensors.torch import save_file

from wmkit.model import CameraBatch, CameraDiT, ModelConfig
from wmkit.model.convert import convert, diffusers_config, from_diffusers_config, load_released
from wmkit.model.presets import PRESETS, preset
from wmkit.model.rays import LatentGrid, plucker_map
from wmkit.model.text import TextBatch

torch.set_num_threads(1)

T, ROWS, COLUMNS, CELL = 4, 3, 5, 32
FRAMES, WIDTH, HEIGHT = 1 + 8 * (T - 1), COLUMNS * CELL, ROWS * CELL
TOLERANCE = 1e-4  # float32 sums in another order, over values of up to 10 in four blocks


def constructor_of(config: ModelConfig) -> dict[str, Any]:
    return {key: value for key, value in diffusers_config(config).items() if not key.startswith("_")}


def oracle_of(config: ModelConfig, seed: int = 0) -> SanaWMTransformer3DModel:
    """diffusers' class with every tensor random, none at an initial zero that would hide a path."""
    oracle = SanaWMTransformer3DModel(**constructor_of(config)).eval()
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in oracle.state_dict().items():
        noise = torch.randn(tensor.shape, generator=generator)
        scale = tensor[0].numel() ** -0.5 if tensor.ndim > 1 else 0.2
        tensor.copy_((1.0 + 0.2 * noise) if "norm" in name else scale * noise)
    return oracle


def ours_of(oracle: SanaWMTransformer3DModel, config: ModelConfig) -> CameraDiT:
    model = CameraDiT(config).eval()
    model.load_state_dict(oracle.state_dict())
    return model


def path_of(length_m: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(F, 4, 4) world_from_cam that ends `length_m` from its start and turns, (F, 4) intrinsics that zoom."""
    generator = np.random.default_rng(seed)
    along = np.linspace(0, 1, FRAMES)
    poses = np.tile(np.eye(4), (FRAMES, 1, 1))
    yaw, pitch = 0.6 * along, 0.2 * np.sin(3 * along)
    for frame in range(FRAMES):
        (a, b), (c, d) = (np.cos(yaw[frame]), np.sin(yaw[frame])), (np.cos(pitch[frame]), np.sin(pitch[frame]))
        turn = np.array([[a, 0, b], [0, 1, 0], [-b, 0, a]])
        poses[frame, :3, :3] = turn @ np.array([[1, 0, 0], [0, c, -d], [0, d, c]])
    direction = generator.normal(size=3)
    poses[:, :3, 3] = length_m * along[:, None] * direction / np.linalg.norm(direction)
    rows = np.array([120.0, 118.0, 0.52 * WIDTH, 0.47 * HEIGHT]) * (1 + 0.1 * along[:, None])
    return poses, rows


def cameras_of(length_m: float) -> tuple[CameraBatch, dict[str, torch.Tensor]]:
    """Two clips as we take them, and as diffusers' own pipeline packs them."""
    paths = [path_of(length_m, seed) for seed in (0, 1)]
    ours = CameraBatch(
        world_from_cam=torch.tensor(np.stack([poses for poses, _ in paths]), dtype=torch.float32),
        intrinsics=torch.tensor(np.stack([rows for _, rows in paths]), dtype=torch.float32),
        width=WIDTH,
        height=HEIGHT,
    )
    packed = [prepare_camera(*path, target_size=(HEIGHT, WIDTH), vae_stride=(8, CELL, CELL)) for path in paths]
    return ours, {
        "camera_conditions": torch.stack([part["raymap"] for part in packed]),
        "chunk_plucker": torch.stack([part["chunk_plucker"] for part in packed]),
    }


def inputs_of(config: ModelConfig, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, TextBatch]:
    """Latent, noise levels (first frame clean) and captions of different length."""
    assert config.text is not None
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(2, T, config.latent_channels, ROWS, COLUMNS, generator=generator)
    sigma = torch.tensor([[0.0, 0.7, 0.7, 0.7], [0.0, 0.25, 0.5, 0.9375]])
    states = torch.randn(2, 7, config.text.channels, generator=generator)
    mask = torch.arange(7)[None] < torch.tensor([[7], [4]])
    return latent, sigma, TextBatch(states=states, mask=mask)


@torch.no_grad()
def both(
    config: ModelConfig, length_m: float, cameras: bool = True, valid: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ours, theirs), (B, T, C, h, w)."""
    oracle = oracle_of(config)
    if valid is not None:  # see `test_frame_mask`
        for name, weight in oracle.named_parameters():
            if name.endswith("mlp.t_conv.weight"):
                weight.zero_()
    model = ours_of(oracle, config)
    latent, sigma, text = inputs_of(config)
    batch, packed = cameras_of(length_m)
    extra: dict[str, Any] = dict(packed) if cameras else {}
    if valid is not None:
        extra["frame_valid_mask"] = valid
    theirs = oracle(
        latent.transpose(1, 2),
        (1000 * sigma)[:, None],
        text.states[:, None],
        encoder_attention_mask=text.mask.long(),
        **extra,
    ).sample.transpose(1, 2)
    return model(latent, sigma, batch if cameras else None, text, valid), theirs


@pytest.fixture
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """diffusers' attention without its rounding to bfloat16."""
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda tensor: tensor)


def config_of(**changes: Any) -> ModelConfig:
    return replace(preset("tiny"), **changes)


@pytest.mark.usefixtures("unrounded")
@pytest.mark.parametrize("softmax_every", [0, 2, 4])
@pytest.mark.parametrize("length_m", [0.0, 2.0, 24.0])
def test_outputs_are_equal_with_their_renormalisation(softmax_every: int, length_m: float) -> None:
    ours, theirs = both(config_of(camera_renorm="rms", softmax_every=softmax_every), length_m)
    assert theirs.std() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.usefixtures("unrounded")
def test_outputs_are_equal_without_it_where_the_camera_only_turns() -> None:
    ours, theirs = both(config_of(), 0.0)
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.usefixtures("unrounded")
def test_outputs_differ_without_it_along_a_path_and_the_more_the_longer() -> None:
    differences = []
    for length_m in (0.5, 2.0, 8.0, 24.0):
        ours, theirs = both(config_of(), length_m)
        differences.append(((ours - theirs).norm() / theirs.norm()).item())
    print("relative difference of the output at 0.5, 2, 8, 24 m:", [f"{value:.4f}" for value in differences])
    assert differences == sorted(differences)
    assert differences[0] > 1e-3


@pytest.mark.usefixtures("unrounded")
def test_outputs_are_equal_without_cameras() -> None:
    ours, theirs = both(config_of(), 2.0, cameras=False)
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_their_rounding_to_bfloat16_is_the_whole_difference() -> None:
    ours, theirs = both(config_of(camera_renorm="rms"), 2.0)
    error = ((ours - theirs).norm() / theirs.norm()).item()
    print(f"relative difference by their rounding: {error:.2e}")
    # bfloat16 keeps 8 bits: 2^-9 a value, in one block of four.
    assert 1e-5 < error < 2**-8


@pytest.mark.usefixtures("unrounded")
def test_frame_mask() -> None:
    """Equal on valid frames, where diffusers' mask is one: no softmax block, no convolution over time."""
    valid = torch.tensor([[True, True, True, False], [True, True, True, True]])
    ours, theirs = both(config_of(camera_renorm="rms", softmax_every=0), 2.0, valid=valid)
    torch.testing.assert_close(ours[valid], theirs[valid], rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.usefixtures("unrounded")
def test_their_frame_mask_leaves_padding_in_the_main_softmax() -> None:
    """NVlabs masks such keys, and so do we: the padded clip differs from theirs, the whole one does not."""
    valid = torch.tensor([[True, True, True, False], [True, True, True, True]])
    ours, theirs = both(config_of(camera_renorm="rms", softmax_every=2), 2.0, valid=valid)
    torch.testing.assert_close(ours[1], theirs[1], rtol=TOLERANCE, atol=TOLERANCE)
    assert (ours[0, :3] - theirs[0, :3]).abs().max() > 10 * TOLERANCE


@pytest.mark.usefixtures("unrounded")
def test_timesteps_are_truncated_as_theirs() -> None:
    config = config_of(camera_renorm="rms")
    oracle = oracle_of(config)
    model = ours_of(oracle, config)
    latent, _, text = inputs_of(config)
    sigma = torch.tensor([[0.0, 0.7004, 0.1237, 0.9999]]).repeat(2, 1)
    with torch.no_grad():
        theirs = oracle(
            latent.transpose(1, 2),
            (1000 * sigma)[:, None],
            text.states[:, None],
            encoder_attention_mask=text.mask.long(),
        ).sample.transpose(1, 2)
        ours = model(latent, sigma, None, text)
        own = CameraDiT(replace(config, compat="none"))
        own.load_state_dict({name: tensor for name, tensor in oracle.state_dict().items() if name in own.state_dict()})
        assert not torch.allclose(own(latent, sigma, None, text), theirs, rtol=TOLERANCE, atol=TOLERANCE)
    torch.testing.assert_close(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE)


def test_pluecker_map_is_their_pipelines() -> None:
    batch, packed = cameras_of(3.0)
    grid = LatentGrid(frames=T, rows=ROWS, columns=COLUMNS, stride=8, compat="sana-wm")
    # float32 on both sides, coordinates of up to 3.
    torch.testing.assert_close(plucker_map(batch, grid).transpose(1, 2), packed["chunk_plucker"], rtol=0, atol=2e-6)
    ours = plucker_map(batch, replace(grid, compat="none")).transpose(1, 2)
    assert not torch.allclose(ours, packed["chunk_plucker"], atol=1e-2)


def test_names_and_shapes_are_theirs_at_every_preset() -> None:
    for name, config in PRESETS.items():
        with torch.device("meta"):
            ours = {key: tuple(tensor.shape) for key, tensor in CameraDiT(config).state_dict().items()}
            oracle = SanaWMTransformer3DModel(**constructor_of(config))
        assert ours == {key: tuple(tensor.shape) for key, tensor in oracle.state_dict().items()}, name


def test_the_released_size_is_870_tensors_and_2_66_billion_parameters() -> None:
    with torch.device("meta"):
        oracle = SanaWMTransformer3DModel()
        model = CameraDiT(preset("sana-wm-2.6b"))
    assert len(oracle.state_dict()) == len(model.state_dict()) == 870
    counts = {sum(parameter.numel() for parameter in part.parameters()) for part in (oracle, model)}
    assert counts == {2_661_800_448}


@pytest.mark.usefixtures("unrounded")
def test_weights_move_both_ways_through_files(tmp_path: Path) -> None:
    """diffusers' folder -> NVlabs' file -> our folder -> diffusers' folder: the same bits, and the same model."""
    config = config_of()
    oracle = oracle_of(config)
    oracle.save_pretrained(tmp_path / "theirs")
    to_nvlabs = convert(tmp_path / "theirs", tmp_path / "nvlabs", "nvlabs")
    assert to_nvlabs.found == "diffusers"
    to_ours = convert(tmp_path / "nvlabs", tmp_path / "ours", "wmkit", config, shard_bytes=200_000)
    assert to_ours.found == "nvlabs"
    assert len(to_ours.files) > 3, "sharded"
    convert(tmp_path / "ours", tmp_path / "again", "diffusers")
    loading: Any = SanaWMTransformer3DModel.from_pretrained(
        tmp_path / "again", output_loading_info=True, low_cpu_mem_usage=False
    )
    again, information = loading
    assert not any(information.values())
    want = oracle.state_dict()
    assert want.keys() == again.state_dict().keys()
    assert all(torch.equal(tensor, want[name]) for name, tensor in again.state_dict().items())
    loaded = load_released(tmp_path / "ours")
    assert loaded.config == config
    latent, sigma, text = inputs_of(config)
    batch, _ = cameras_of(0.5)
    with torch.no_grad():
        assert torch.equal(loaded(latent, sigma, batch, text), ours_of(oracle, config)(latent, sigma, batch, text))


def test_released_extras_are_told_and_left_out(tmp_path: Path) -> None:
    config = config_of()
    tensors = {name: tensor.contiguous() for name, tensor in oracle_of(config).state_dict().items()}
    tensors |= {"pos_embed": torch.zeros(1, 4, 64), "y_embedder.y_embedding": torch.ones(12, 32)}
    save_file(tensors, tmp_path / "model.safetensors")
    done = convert(tmp_path / "model.safetensors", tmp_path / "out", "nvlabs", config)
    assert [text.split()[0] for text in done.report.unread] == ["pos_embed", "y_embedder.y_embedding"]
    assert config.text is not None
    kept = replace(config, text=replace(config.text, null_caption=True))
    model = load_released(tmp_path / "model.safetensors", kept)
    assert torch.equal(model.state_dict()["y_embedder.y_embedding"], torch.ones(12, 32))


def test_configs_translate_both_ways() -> None:
    """Through the class itself, whose config has every key and tuples for lists."""
    for config in PRESETS.values():
        with torch.device("meta"):
            theirs = dict(SanaWMTransformer3DModel(**constructor_of(config)).config)
        assert replace(from_diffusers_config(theirs), text=config.text) == config
