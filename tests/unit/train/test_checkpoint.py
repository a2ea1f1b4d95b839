"""Checkpoints: whole or absent, safetensors and JSON, refused when damaged or of another model."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.train_doubles import FACTS, batch_of, run, small_config
from wmkit.errors import ConfigError, InputError
from wmkit.model.rays import CameraBatch
from wmkit.train.checkpoint import build_model, find_checkpoint, load_model, read_state


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "run"
    run(folder, "steps=2")
    return folder


@pytest.fixture
def own(trained: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return shutil.copytree(trained, tmp_path / "run")


def test_the_folder_holds_what_it_says(trained: Path) -> None:
    folder = find_checkpoint(trained)
    assert folder == trained / "checkpoints" / "step-000002"
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json", "model.safetensors", "optimizer.safetensors", "state.json",
    ]  # fmt: skip
    assert json.loads((folder / "config.json").read_text()) == small_config("steps=2").to_json()
    assert (read_state(folder).step, read_state(folder).data) == (2, FACTS)
    model = build_model(small_config().model, 0)
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        assert set(file.keys()) == set(model.state_dict())
    moments = load_file(folder / "optimizer.safetensors")
    assert {name.split(".")[0] for name in moments} == {"exp_avg", "exp_avg_sq", "step"}
    assert len(moments) == 3 * len(list(model.parameters()))


def test_a_loaded_model_is_the_trained_one(trained: Path) -> None:
    model, config = load_model(trained)
    same, _ = load_model(find_checkpoint(trained))
    assert config == small_config("steps=2")
    assert not model.training
    batch = batch_of(0)
    cameras = CameraBatch(world_from_cam=batch.world_from_cam, intrinsics=batch.intrinsics, width=24, height=16)
    latent, sigma = config.codec.encode(batch.video), torch.full((2, 3), 0.5)
    fresh = build_model(config.model, config.seed).eval()
    with torch.no_grad():
        got, twin, before = (each(latent, sigma, cameras) for each in (model, same, fresh))
    assert torch.equal(got, twin)
    assert not torch.equal(got, before)


def test_building_a_model_leaves_torch_as_it_was() -> None:
    torch.manual_seed(5)
    want = torch.rand(1)
    torch.manual_seed(5)
    first = build_model(small_config().model, 3)
    assert torch.equal(torch.rand(1), want)
    second = build_model(small_config().model, 3)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    run(tmp_path / "run", "steps=5", "save_every=1", "keep=2")
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["step-000004", "step-000005"]
    assert (tmp_path / "run" / "latest").read_text() == "step-000005\n"


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    """A half-written folder, and a complete one that `latest` does not name yet."""
    whole = run(tmp_path / "whole", "steps=4").checkpoint
    run(tmp_path / "run", "steps=2")
    folder = tmp_path / "run" / "checkpoints"
    (folder / ".step-000004.tmp").mkdir()
    (folder / ".step-000004.tmp" / "model.safetensors").write_bytes(b"half")
    (folder / "step-000004").mkdir()
    (folder / "step-000004" / "odd").write_bytes(b"left over")
    again = run(tmp_path / "run", "steps=4", resume=True).checkpoint
    assert sorted(path.name for path in folder.iterdir()) == ["step-000002", "step-000004"]
    assert sorted(path.name for path in again.iterdir()) == sorted(path.name for path in whole.iterdir())
    assert (again / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors"])
def test_a_tensor_file_cut_short_is_refused(own: Path, name: str) -> None:
    path = find_checkpoint(own) / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=name):
        run(own, "steps=4", resume=True)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "config.json", "state.json"])
def test_a_file_that_is_gone_is_named(own: Path, name: str) -> None:
    (find_checkpoint(own) / name).unlink()
    with pytest.raises(InputError, match=name):
        run(own, "steps=4", resume=True)


@pytest.mark.parametrize(
    ("name", "text", "error"),
    [
        ("config.json", "{", InputError),
        ("config.json", "[]", InputError),
        ("config.json", "{}", ConfigError),
        ("state.json", '{"step": "x"}', InputError),
        ("state.json", "nothing", InputError),
    ],
)
def test_json_that_is_none_of_ours(own: Path, name: str, text: str, error: type[Exception]) -> None:
    (find_checkpoint(own) / name).write_text(text)
    with pytest.raises(error, match=name):
        run(own, "steps=4", resume=True)


def test_weights_of_another_model_are_refused(own: Path) -> None:
    path = find_checkpoint(own) / "model.safetensors"
    weights = load_file(path)
    name = next(name for name, tensor in weights.items() if tensor.ndim == 2)
    save_file({**weights, name: weights[name][:1].clone()}, path)
    with pytest.raises(ConfigError, match=f"expected {name} of shape"):
        load_model(own)
    save_file({key: tensor for key, tensor in weights.items() if key != name}, path)
    with pytest.raises(ConfigError, match=f"lacks tensor {name}"):
        load_model(own)
    save_file({**weights, "aa": torch.zeros(1)}, path)
    with pytest.raises(ConfigError, match="unknown tensor aa"):
        load_model(own)


@pytest.mark.parametrize("made", [True, False])
def test_no_run(tmp_path: Path, made: bool) -> None:
    if made:
        (tmp_path / "run").mkdir()
    with pytest.raises(InputError, match="expected a run"):
        load_model(tmp_path / "run")


def test_the_same_step_has_the_same_bytes(trained: Path, tmp_path: Path) -> None:
    again = run(tmp_path / "again", "steps=2").checkpoint
    for path in find_checkpoint(trained).iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes(), path.name
