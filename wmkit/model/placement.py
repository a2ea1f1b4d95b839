"""Where weights are while they are used and while they are not, and in which precision a backbone works.

    none    every model stays on the device
    model   a model is on the device while it works: text encoder, VAE, backbone, refiner, one after the other
    blocks  as model, and of a backbone one block at a time: for a device that does not hold it

What is offloaded lies on the CPU and never moves: a copy is lent to the device, and dropped. So results are those of
models that stay, bit for bit.
"""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from wmkit.errors import ConfigError, InputError
from wmkit.model.dit import CameraDiT
from wmkit.model.fp8 import fp8_autocast, to_fp8

__all__ = ["OFFLOADS", "PRECISIONS", "Offload", "Placement", "Precision", "lent", "rounded_modules", "weights_of"]

Offload = Literal["none", "model", "blocks"]
Precision = Literal["float32", "bfloat16", "fp8"]
OFFLOADS: tuple[Offload, ...] = get_args(Offload)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """`device` of torch that works, what is `offload`ed from it, and the `precision` of a backbone's products.

    bfloat16: matrix products and convolutions of the blocks, whose weights are kept so too. Cameras, rays, sums over
    tokens, norms, noise levels and the latents between steps stay float32. fp8: besides, the large products of the
    main path in FP8; the camera half's stay bfloat16.
    Raises ConfigError for words that are none of these, InputError for fp8 where it cannot be.
    """

    device: str = "cpu"
    offload: Offload = "none"
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        if self.offload not in OFFLOADS or self.precision not in PRECISIONS:
            raise ConfigError(
                f"--offload and --precision: expected one of {', '.join(OFFLOADS)} and one of {', '.join(PRECISIONS)}, "
                f"got {self.offload!r} and {self.precision!r}"
            )
        if self.precision == "fp8" and (self.offload != "none" or not self.device.startswith("cuda")):
            raise InputError(
                f"--precision fp8: expected --device cuda and --offload none, got {self.device} and {self.offload}; "
                "use --precision bfloat16"
            )

    @property
    def dtype(self) -> torch.dtype:
        """In which a backbone's weights are kept."""
        return torch.float32 if self.precision == "float32" else torch.bfloat16

    def rounded(self, model: CameraDiT) -> CameraDiT:
        """`model` in this precision, changed where it stands."""
        if self.precision != "float32":
            for module in rounded_modules(model):
                module.to(torch.bfloat16)
        if self.precision == "fp8":
            to_fp8(model)
        return model

    def settle(self, *parts: Any) -> None:
        """Put what is not offloaded on the device for good."""
        if self.offload == "none":
            for module in [module for part in parts for module in weights_of(part)]:
                module.to(self.device)

    @contextlib.contextmanager
    def using(self, *parts: Any) -> Iterator[None]:
        """Meanwhile the weights of these are on the device."""
        with lent([module for part in parts for module in weights_of(part)], self.device):
            yield

    @contextlib.contextmanager
    def running(self, model: CameraDiT) -> Iterator[None]:
        """Meanwhile a backbone can be called, in its precision."""
        with contextlib.ExitStack() as stack:
            if self.offload == "blocks":
                stack.enter_context(_block_by_block(model, self.device))
            else:
                stack.enter_context(lent([model], self.device))
            if self.precision != "float32":
                stack.enter_context(_quiet_norms())
                stack.enter_context(torch.autocast(torch.device(self.device).type, torch.bfloat16))
            if self.precision == "fp8":
                stack.enter_context(fp8_autocast())
            yield


def weights_of(part: Any) -> tuple[nn.Module, ...]:
    """Modules of a model, or of a codec or text encoder that has one as `module`; none of what has no weights."""
    module = part if isinstance(part, nn.Module) else getattr(part, "module", None)
    return (module,) if isinstance(module, nn.Module) else ()


@contextlib.contextmanager
def lent(modules: list[nn.Module], device: torch.device | str) -> Iterator[None]:
    """Meanwhile parameters and buffers are copies on `device`; afterwards the very tensors of before."""
    held: list[tuple[nn.Module, str, Tensor]] = []
    copies: dict[Tensor, Tensor] = {}  # weights that two modules share are one there too
    try:
        for owner in {owner: None for module in modules for owner in module.modules()}:
            for name, tensor in _own(owner):
                if tensor.device.type != torch.device(device).type:
                    held.append((owner, name, tensor))
                    if tensor not in copies:
                        copies[tensor] = _copied(tensor, device)
                    setattr(owner, name, copies[tensor])
        yield
    finally:
        for owner, name, tensor in held:
            setattr(owner, name, tensor)


def _own(owner: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers of a module itself, one of two names twice."""
    parameters = owner.named_parameters(recurse=False, remove_duplicate=False)
    return [*parameters, *owner.named_buffers(recurse=False, remove_duplicate=False)]


def _copied(tensor: Tensor, device: torch.device | str) -> Tensor:
    copy = tensor.detach().to(device)
    return nn.Parameter(copy, requires_grad=tensor.requires_grad) if isinstance(tensor, nn.Parameter) else copy


@contextlib.contextmanager
def _block_by_block(model: CameraDiT, device: str) -> Iterator[None]:
    """Meanwhile what stands around the blocks is on the device, and each block while it is called."""
    with contextlib.ExitStack() as stack:
        inside: list[contextlib.ExitStack] = []

        def enter(block: nn.Module, _: Any) -> None:
            inside.append(contextlib.ExitStack())
            inside[-1].enter_context(lent([block], device))

        def leave(*_: Any) -> None:
            inside.pop().close()

        around = [module for name, module in model.named_children() if name != "blocks"]
        stack.enter_context(lent(around, device))
        for block in model.blocks:
            stack.callback(block.register_forward_pre_hook(enter).remove)
            stack.callback(block.register_forward_hook(leave, always_call=True).remove)
        yield


@contextlib.contextmanager
def _quiet_norms() -> Iterator[None]:
    """RMS norms of half-precision numbers by float32 weights are meant: torch (2.13) warns that they are not fused."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight", category=UserWarning)
        yield


def rounded_modules(model: CameraDiT) -> list[nn.Module]:
    """Of the blocks, the matrix products and convolutions whose weights autocast would round at every call."""
    return [module for module in model.blocks.modules() if isinstance(module, nn.Linear | nn.Conv2d)]
