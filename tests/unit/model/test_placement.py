"""Weights lent to a device: which are there when, the same tensors afterwards, and precision of a backbone."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from wmkit.errors import InputError
from wmkit.model.dit import CameraDiT
from wmkit.model.live_bytes import LiveBytes
from wmkit.model.placement import Placement, lent
from wmkit.model.presets import preset
from wmkit.model.work import Grid, meta_inputs

CONFIG = preset("tiny")
GRID = Grid(frames=3, rows=2, columns=3, text_tokens=12)


@pytest.fixture
def model() -> CameraDiT:
    torch.manual_seed(0)
    made = CameraDiT(CONFIG)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return made.eval()


def inputs() -> tuple[Any, ...]:
    from wmkit.model.rays import CameraBatch
    from wmkit.model.text import TextBatch

    latent, _, cameras, text = meta_inputs(CONFIG, GRID)
    generator = torch.Generator().manual_seed(0)
    poses = torch.eye(4).expand(cameras.world_from_cam.shape).clone()
    poses[0, :, 2, 3] = 0.2 * torch.arange(poses.shape[1])
    focal = torch.tensor([50.0, 50.0, cameras.width / 2, cameras.height / 2]).expand(cameras.intrinsics.shape)
    assert text is not None
    states = torch.randn(text.states.shape, generator=generator)
    return (
        torch.randn(latent.shape, generator=generator),
        torch.full(latent.shape[:2], 0.5),
        CameraBatch(world_from_cam=poses, intrinsics=focal, width=cameras.width, height=cameras.height),
        TextBatch(states=states, mask=torch.ones(text.mask.shape, dtype=torch.bool)),
    )


def on_meta(module: nn.Module) -> set[bool]:
    return {tensor.is_meta for tensor in (*module.parameters(), *module.buffers())}


def test_a_model_is_lent_whole_and_comes_back_as_it_was(model: CameraDiT) -> None:
    before = dict(model.named_parameters())
    place = Placement(device="meta", offload="model")
    with place.running(model):
        assert on_meta(model) == {True}
        assert model(*meta_inputs(CONFIG, GRID)).is_meta
    after = dict(model.named_parameters())
    assert all(after[name] is tensor for name, tensor in before.items()), "the very tensors: nothing is copied back"


def test_blocks_are_there_one_at_a_time(model: CameraDiT) -> None:
    before = dict(model.named_parameters())
    seen: list[list[bool]] = []

    def look(*_: Any) -> None:
        seen.append([on_meta(block) == {True} for block in model.blocks])

    hooks = [block.attn.register_forward_hook(look) for block in model.blocks]  # type: ignore[union-attr]
    with Placement(device="meta", offload="blocks").running(model):
        assert on_meta(model.final_layer) == on_meta(model.x_embedder) == {True}
        assert [on_meta(block) for block in model.blocks] == [{False}] * CONFIG.depth
        for _ in range(2):
            assert model(*meta_inputs(CONFIG, GRID)).is_meta
    for hook in hooks:
        hook.remove()
    own = [[number == layer for number in range(CONFIG.depth)] for layer in range(CONFIG.depth)]
    assert seen == own * 2
    assert all(tensor is before[name] for name, tensor in model.named_parameters())
    assert not any(block._forward_hooks or block._forward_pre_hooks for block in model.blocks)


def test_a_block_that_fails_is_given_back(model: CameraDiT, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Tensor:
        raise MemoryError

    monkeypatch.setattr(model.blocks[1].mlp, "forward", fail)
    with pytest.raises(MemoryError), Placement(device="meta", offload="blocks").running(model):
        model(*meta_inputs(CONFIG, GRID))
    assert on_meta(model) == {False}


def test_shared_weights_are_shared_there() -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    with lent([nn.ModuleList([first, second])], "meta"):
        assert first.weight is second.weight
        assert first.weight.is_meta
    assert first.weight is second.weight


@pytest.mark.parametrize("offload", ["none", "model", "blocks"])
def test_offloading_changes_no_bit(model: CameraDiT, offload: Any) -> None:
    with torch.no_grad():
        wanted = model(*inputs())
        with Placement(offload=offload).running(model):
            assert torch.equal(model(*inputs()), wanted)


def test_rounded_weights_are_what_autocast_rounds(model: CameraDiT) -> None:
    """Half the bytes of the blocks' products, and the same bits as float32 weights under autocast."""
    place = Placement(precision="bfloat16", offload="blocks")
    with torch.no_grad():
        exact = model(*inputs())
        with Placement(precision="bfloat16").running(model):  # its weights are float32 yet
            wanted = model(*inputs())
        model = place.rounded(model)
        with place.running(model):
            found = model(*inputs())
    assert torch.equal(found, wanted)
    kept = {name.rpartition(".")[2]: own.dtype for name, own in model.blocks[0].named_parameters()}
    assert (kept["scale_shift_table"], kept["A_log"]) == (torch.float32, torch.float32)
    assert model.blocks[0].attn.qkv.weight.dtype == torch.bfloat16  # type: ignore[union-attr]
    # bfloat16 rounds to 2^-9 at most; some 60 products and sums one after another, whose errors add up as a random
    # walk's: 2^-9 sqrt(60) = 1.5 %.
    off = (found - exact).norm() / exact.norm()
    assert 1e-5 < off < 0.015


def test_cameras_are_not_rounded(model: CameraDiT) -> None:
    """A tenth of a metre at a kilometre is nothing in bfloat16: the maps of two such paths must differ as they do."""
    place = Placement(precision="bfloat16")
    model = place.rounded(model)
    latent, _, cameras, _ = inputs()
    far = cameras.world_from_cam.clone()
    far[0, :, 0, 3] = 1000.0 + 0.1 * torch.arange(far.shape[1])
    cameras = replace(cameras, world_from_cam=far)
    grid, frames = model.grid(latent), slice(0, GRID.frames)
    with torch.no_grad():
        _, wanted = model._cameras(cameras, grid, frames, torch.float32)
        with place.running(model):
            _, found = model._cameras(cameras, grid, frames, torch.float32)
    assert found is not None
    assert wanted is not None
    assert found.query.dtype == torch.float32
    assert torch.equal(found.query, wanted.query)
    assert torch.equal(found.output, wanted.output)


class FakeEngine(ModuleType):
    """Transformer Engine's two names, in plain torch."""

    active = 0

    class Linear(nn.Linear):
        calls = 0

        def __init__(self, into: int, out: int, bias: bool, params_dtype: torch.dtype) -> None:
            super().__init__(into, out, bias=bias, dtype=params_dtype)

        def forward(self, x: Tensor) -> Tensor:
            assert FakeEngine.active == 1
            type(self).calls += 1
            return super().forward(x)

    @staticmethod
    @contextmanager
    def fp8_autocast(enabled: bool) -> Iterator[None]:
        assert enabled
        FakeEngine.active += 1
        try:
            yield
        finally:
            FakeEngine.active -= 1


def test_fp8_replaces_the_main_path_alone(model: CameraDiT, monkeypatch: pytest.MonkeyPatch) -> None:
    from wmkit.model.fp8 import FP8_MAPS, fp8_autocast, to_fp8

    engine = FakeEngine("transformer_engine.pytorch")
    package = ModuleType("transformer_engine")
    package.pytorch = engine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "transformer_engine", package)
    monkeypatch.setitem(sys.modules, "transformer_engine.pytorch", engine)
    with torch.no_grad(), Placement(precision="bfloat16").running(model):
        wanted = model(*inputs())
        to_fp8(model)
        with fp8_autocast():
            found = model(*inputs())
    assert torch.equal(found, wanted), "the stand-in multiplies as bfloat16 does"
    replaced = {name for name, part in model.blocks[0].named_modules() if isinstance(part, FakeEngine.Linear)}
    assert replaced == set(FP8_MAPS)
    assert FakeEngine.Linear.calls == len(FP8_MAPS) * CONFIG.depth


def test_what_cannot_be_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="expected --device cuda and --offload none"):
        Placement(precision="fp8")
    with pytest.raises(InputError, match="expected --device cuda and --offload none"):
        Placement(device="cuda", precision="fp8", offload="blocks")
    monkeypatch.setitem(sys.modules, "transformer_engine", None)
    with pytest.raises(InputError, match="expected the package transformer_engine"):
        Placement(device="cuda", precision="fp8").rounded(CameraDiT(CONFIG))


def test_live_bytes_are_those_at_once() -> None:
    def work() -> Tensor:
        first = torch.empty(1000, device="meta")
        view = first[:10]
        second = first + 1  # 2000 numbers now
        del first
        small = view + 1  # the view keeps the first alive: 2010
        del view
        return second * 2 + small.sum()  # 1010, then 2011 with the product, 3011 with the sum of both

    with LiveBytes() as live:
        work()
    assert live.peak == 4 * 3011
