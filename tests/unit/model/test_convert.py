"""Released weights as files: the whole released checkpoint's names without its bytes, differences told, no pickle."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from wmkit.cli import main
from wmkit.errors import ConfigError, InputError
from wmkit.model import CameraDiT
from wmkit.model.convert import convert, diffusers_config, from_diffusers_config, load_released
from wmkit.model.presets import preset
from wmkit.model.weights_files import WeightsSource

TINY = preset("tiny")


def tensors_of(seed: int = 0) -> dict[str, torch.Tensor]:
    """A tiny model's weights, none of them at its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        own = CameraDiT(TINY).state_dict()
    return {name: torch.randn(tensor.shape, generator=generator) for name, tensor in own.items()}


def sparse_file(path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    """A safetensors file with these float32 tensors whose bytes are a hole: 10 GB that take no room on disk."""
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 4 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


def released_shapes() -> dict[str, tuple[int, ...]]:
    """Names as in NVlabs' file, by hand from the sheet (`model-training-sampling.md` c.4), not from our model."""
    C, heads, hidden = 2240, 20, 6720
    shapes: dict[str, tuple[int, ...]] = {"pos_embed": (1, 1024, C), "y_embedder.y_embedding": (300, 2304)}

    def linear(name: str, out: int, into: int, bias: bool = True) -> None:
        shapes[f"{name}.weight"] = (out, into)
        if bias:
            shapes[f"{name}.bias"] = (out,)

    linear("t_embedder.mlp.0", C, 256)
    linear("t_embedder.mlp.2", C, C)
    linear("t_block.1", 6 * C, C)
    linear("y_embedder.y_proj.fc1", C, 2304)
    linear("y_embedder.y_proj.fc2", C, C)
    linear("final_layer.linear", 128, C)
    shapes |= {"attention_y_norm.weight": (C,), "final_layer.scale_shift_table": (2, C)}
    for name, channels in (("x_embedder", 128), ("plucker_embedder", 48), ("raymap_embedder", 3)):
        shapes |= {f"{name}.proj.weight": (C, channels, 1, 1, 1), f"{name}.proj.bias": (C,)}
    for i in range(20):
        block = f"blocks.{i}"
        linear(f"{block}.plucker_proj", C, C)
        linear(f"{block}.attn.qkv", 3 * C, C, bias=False)
        for name in ("proj", "output_gate", "q_proj_cam", "k_proj_cam", "v_proj_cam", "out_proj_cam"):
            linear(f"{block}.attn.{name}", C, C)
        for name in ("beta_proj", "gate_proj"):
            linear(f"{block}.attn.{name}", heads, C)
        for name in ("attn.q_norm", "attn.k_norm", "attn.q_norm_cam", "attn.k_norm_cam"):
            shapes[f"{block}.{name}.weight"] = (C,)
        shapes |= {f"{block}.attn.A_log": (heads,), f"{block}.attn.dt_bias": (heads,)}
        shapes |= {f"{block}.attn.recall_gate": (1,), f"{block}.scale_shift_table": (6, C)}
        if i % 4 != 3:
            shapes |= {f"{block}.attn.conv_k.weight": (C, 1, 4), f"{block}.attn.conv_k_cam.weight": (C, 1, 4)}
        linear(f"{block}.cross_attn.q_linear", C, C)
        linear(f"{block}.cross_attn.kv_linear", 2 * C, C)
        linear(f"{block}.cross_attn.proj", C, C)
        shapes |= {f"{block}.cross_attn.q_norm.weight": (C,), f"{block}.cross_attn.k_norm.weight": (C,)}
        shapes[f"{block}.mlp.inverted_conv.conv.weight"] = (2 * hidden, C, 1, 1)
        shapes[f"{block}.mlp.inverted_conv.conv.bias"] = (2 * hidden,)
        shapes[f"{block}.mlp.depth_conv.conv.weight"] = (2 * hidden, 1, 3, 3)
        shapes[f"{block}.mlp.depth_conv.conv.bias"] = (2 * hidden,)
        shapes[f"{block}.mlp.point_conv.conv.weight"] = (C, hidden, 1, 1)
        shapes[f"{block}.mlp.t_conv.weight"] = (C, C, 3, 1)
    return shapes


def test_the_released_files_names_and_shapes_fit(tmp_path: Path) -> None:
    """870 tensors and 2.66 billion values, checked by header alone; the model they go into is on the meta device."""
    file = tmp_path / "sana_wm_1600m_720p.safetensors"
    sparse_file(file, released_shapes())
    assert file.stat().st_size > 10e9
    assert file.stat().st_blocks * 512 < 10e6, "no room on disk"
    from wmkit.model.convert import _open

    opened = _open(file, preset("sana-wm-2.6b"))
    assert opened.found == "nvlabs"
    assert opened.report.fits, opened.report.lines()[:5]
    assert opened.report.tensors == 870
    assert opened.report.values == 2_661_800_448 + 20  # the parameters, and a dead recall_gate a block
    assert len(opened.report.unread) == 2


def test_every_difference_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = tensors_of()
    tensors["blocks.9.attn.proj.weight"] = tensors.pop("blocks.0.attn.proj.weight")
    tensors["t_block.1.bias"] = torch.zeros(7)
    save_file(tensors, tmp_path / "model.safetensors")
    arguments = ["convert", str(tmp_path / "model.safetensors"), str(tmp_path / "out"), "--preset", "tiny"]
    assert main(arguments) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "missing: blocks.0.attn.proj.weight (64, 64)",
        "unexpected: blocks.9.attn.proj.weight (64, 64)",
        "wrong shape: t_block.1.bias: expected (384,), got (7,)",
    ]
    assert lines[3].startswith("nothing written: 1 missing, 1 unexpected, 1 of wrong shape")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"1 missing, 1 unexpected, 1 of wrong shape: missing: blocks\.0\.attn"):
        load_released(tmp_path / "model.safetensors", TINY)


@pytest.mark.parametrize(("dtype", "name"), [(torch.int32, "I32"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_tensors_that_are_no_plain_floats_are_told(tmp_path: Path, dtype: torch.dtype, name: str) -> None:
    """Quantised weights want their scales: read as they stand, they would be other numbers."""
    tensors = tensors_of()
    tensors["t_block.1.bias"] = tensors["t_block.1.bias"].to(dtype)
    save_file(tensors, tmp_path / "model.safetensors")
    done = convert(tmp_path / "model.safetensors", tmp_path / "out", "wmkit", TINY)
    assert done.exit_code == 1
    assert done.report.lines() == [f"wrong type: t_block.1.bias: expected BF16, F16, F32, F64, got {name}"]
    assert done.lines()[-1].startswith("nothing written: 0 missing, 0 unexpected, 0 of wrong shape, 1 of wrong type")
    with pytest.raises(InputError, match="1 of wrong type: wrong type: t_block"):
        load_released(tmp_path / "model.safetensors", TINY)


def test_half_floats_keep_their_type(tmp_path: Path) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in tensors_of().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    convert(tmp_path / "model.safetensors", tmp_path / "out", "wmkit", TINY)
    again = load_released(tmp_path / "out").state_dict()
    assert {tensor.dtype for tensor in again.values()} == {torch.bfloat16}
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())


def test_a_conversion_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(tensors_of(), tmp_path / "model.safetensors")
    arguments = ["convert", str(tmp_path / "model.safetensors"), str(tmp_path / "out"), "--preset", "tiny"]
    for size in ("0", "nan", "-1"):
        assert main([*arguments, "--shard-gb", size]) == 2
    full = "Error while serializing: I/O error: No space left on device (os error 28)"

    def fail(*_: object, **__: object) -> None:
        raise SafetensorError(full)

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(InputError, match=r"expected to write there, got: .*No space left on device"):
        convert(tmp_path / "model.safetensors", tmp_path / "out", "wmkit", TINY)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_bits_survive_every_layout_and_shard_size(tmp_path: Path) -> None:
    tensors = tensors_of()
    save_file(tensors, tmp_path / "model.safetensors")
    source = tmp_path / "model.safetensors"
    for number, (layout, shard_bytes) in enumerate([("nvlabs", 10**9), ("wmkit", 100_000), ("diffusers", 300_000)]):
        done = convert(source, tmp_path / str(number), layout, TINY, shard_bytes)  # type: ignore[arg-type]
        assert done.exit_code == 0
        assert len(done.files) == 1 or all(file.stat().st_size < shard_bytes + 60_000 for file in done.files[:-1])
        source = tmp_path / str(number)
    again = load_released(source, TINY).state_dict()
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in tensors.items())
    names = WeightsSource.open(tmp_path / "0").specs
    assert {"t_embedder.mlp.0.weight", "t_embedder.mlp.2.bias"} <= names.keys()


def test_command_line_writes_and_tells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_file(tensors_of(), tmp_path / "model.safetensors")
    out = tmp_path / "out"
    arguments = [
        "convert",
        str(tmp_path / "model.safetensors"),
        str(out),
        "--to",
        "wmkit",
        "--preset",
        "tiny",
        "--json",
    ]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told) == [
        "source", "found", "to", "files", "tensors", "values", "missing", "unexpected", "wrong_shape", "wrong_type",
        "left_out",
    ]  # fmt: skip
    assert told["tensors"] == 190
    assert load_released(out).config == TINY, "the config is beside the weights now"
    assert main(["convert", str(out), str(out)]) == 2
    assert "does not exist yet" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model.pt", "pytorch_model.bin", "x.ckpt"])
def test_pickles_are_refused(tmp_path: Path, name: str) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / name)
    index = tmp_path / f"{name}.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    for source in (tmp_path / name, tmp_path, index):
        with pytest.raises(InputError, match="expected safetensors, got a pickle"):
            convert(source, tmp_path / "out", "wmkit", TINY)


def test_bad_sources_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no such path"):
        WeightsSource.open(tmp_path / "absent")
    with pytest.raises(InputError, match="found 0; name the file"):
        WeightsSource.open(tmp_path)
    file = tmp_path / "model.safetensors"
    save_file(tensors_of(), file)
    with pytest.raises(InputError, match=r"expected a config\.json beside the weights"):
        convert(file, tmp_path / "out", "wmkit")
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(InputError, match="expected whole safetensors"):
        WeightsSource.open(file)
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(InputError, match="is absent"):
        WeightsSource.open(index)
    index.write_text("{}")
    with pytest.raises(InputError, match="expected a weight_map"):
        WeightsSource.open(index)


@pytest.mark.usefixtures("without_shape_checks")
def test_other_architectures_are_refused() -> None:
    plain = diffusers_config(TINY)
    assert from_diffusers_config(plain) == replace(TINY, text=replace(TINY.text, tokens=300))  # type: ignore[type-var]
    for change, message in [
        ({"_class_name": "UNet2DModel"}, "expected SanaWMTransformer3DModel, got UNet2DModel"),
        ({"patch_size": [1, 2, 2]}, "expected patch_size"),
        ({"linear_head_dim": 16}, "expected 2 heads"),
        ({"chunk_plucker_post_attn_blocks": 1}, "every block"),
        ({"hidden_size": "64"}, "expected hidden_size to be a whole number, got '64'"),
        ({"chunk_plucker_channels": None}, "expected chunk_plucker_channels to be a whole number"),
        ({"chunk_plucker_channels": 50}, "6 a video frame, got 50"),
        ({"mlp_ratio": float("nan")}, "mlp_ratio > 0"),
    ]:
        with pytest.raises(ConfigError, match=message):
            from_diffusers_config(plain | change)
    for config in (replace(TINY, camera_map=None), replace(TINY, text=None), replace(TINY, compat="none")):
        with pytest.raises(ConfigError, match="its class has no other model"):
            diffusers_config(config)
