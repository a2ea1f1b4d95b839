"""Frame-wise GDN on this machine: the paths beside the equation and beside diffusers' torch path, one run.

    python benchmarks/frame_gdn.py [--frames 16] [--tokens 64 128 256] [--heads 4] [--channels 112] [--rounds 7]

Bidirectional, normalised, float32, one clip. Every way gets the same numbers, in the layout it likes (diffusers has
(B, H, D, T S)), and they take turns, so that a busy machine slows all of them. Times are the median of the rounds;
memory is the growth of a process's peak resident size over its inputs, each way in a process of its own. `literal64`
is the specification as the tests run it, in float64. diffusers (pip install diffusers) is left out if not installed.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from wmkit.model.ops.frame_gdn import Backend, frame_gdn, key_scale

Way = Callable[[], Tensor]
OURS: dict[str, Backend] = {"scan": "scan", "block": "block", "literal": "literal", "literal64": "literal"}


def main() -> int:
    """Print one table a size; with --one, run one way once and print its memory (what the table calls)."""
    options = _arguments()
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps({"mib": _memory_mib(options)}))
        return 0
    names = [*OURS, *(["diffusers"] if find_spec("diffusers") else [])]
    sizes = list(options.tokens)
    for tokens in sizes:
        options.tokens = [tokens]
        _table(options, names)
    return 0


def _table(options: argparse.Namespace, names: list[str]) -> None:
    shape = f"T {options.frames} S {options.tokens[0]} H {options.heads} D {options.channels}"
    print(f"\n{shape}, torch {torch.__version__}, 1 thread; ratios to scan")
    print(f"{'':10s} {'forward ms':>16s} {'and backward ms':>20s} {'peak MiB':>16s}")
    ways = {name: _way(name, options) for name in names}
    forward = _race({name: way for name, (way, _) in ways.items()}, options.rounds)
    both = _race({name: _with_backward(*way) for name, way in ways.items()}, options.rounds)
    memory = {name: _measured_memory(name, options) for name in names}
    for name in names:
        cells = [(table[name], table[name] / table["scan"]) for table in (forward, both, memory)]
        print(f"{name:10s} " + " ".join(f"{value:10.1f} ({ratio:5.2f}x)" for value, ratio in cells))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--tokens", type=int, nargs="+", default=[64, 128, 256])
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--channels", type=int, default=112)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def _inputs(options: argparse.Namespace, dtype: torch.dtype) -> list[Tensor]:
    """q and k with RoPE, q and k without, v, beta, decay: (B, H, T, S, D) and shorter, as the model scales them."""
    generator = torch.Generator().manual_seed(0)
    T, S, H, D = options.frames, options.tokens[0], options.heads, options.channels

    def draw(*shape: int) -> Tensor:
        return torch.randn(1, H, T, *shape, generator=generator, dtype=dtype)

    q, k = draw(S, D).relu(), draw(S, D).relu() * key_scale(D, S)
    turned = [torch.stack([-x[..., 1::2], x[..., 0::2]], dim=-1).flatten(-2) for x in (q, k)]
    return [*turned, q, k, draw(S, D), draw(S).sigmoid(), draw().sigmoid()]


def _way(name: str, options: argparse.Namespace) -> tuple[Way, list[Tensor]]:
    """A call without arguments, and the tensors it takes."""
    inputs = _inputs(options, torch.float64 if name == "literal64" else torch.float32)
    if name == "diffusers":
        inputs = [x.movedim(-1, 2).flatten(-2).contiguous() for x in inputs[:5]] + inputs[5:]
    for x in inputs:
        x.requires_grad_()
    if name == "diffusers":
        return (lambda: _diffusers(*inputs)), inputs
    rotated, plain = (inputs[0], inputs[1]), (inputs[2], inputs[3])
    backend = OURS[name]
    return (lambda: frame_gdn(rotated, plain, inputs[4], inputs[5], inputs[6], backend=backend)), inputs


def _diffusers(q_rot: Tensor, k_rot: Tensor, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor) -> Tensor:
    """Both directions by diffusers' own functions, put together as its bidirectional attention does."""
    from diffusers.models.transformers import transformer_sana_wm as theirs

    T = beta.shape[2]

    def flipped(x: Tensor, shift: bool) -> Tensor:
        frames = x.unflatten(-1, (T, -1)).movedim(3, 2)
        turned = theirs.flip_and_shift(frames, dim=2, shift_val=0.0) if shift else frames.flip(2)
        return turned.movedim(2, 3).flatten(3)

    num, den = theirs.torch_chunk_sana_gdn(q, k, v, q_rot, k_rot, beta, decay, return_components=True)
    num_back, den_back = theirs.torch_chunk_sana_gdn(
        flipped(q, False), flipped(k, True), flipped(v, True), flipped(q_rot, False), flipped(k_rot, True),
        theirs.flip_and_shift(beta, dim=2, shift_val=0.0), theirs.flip_and_shift(decay, dim=2, shift_val=1.0),
        return_components=True,
    )  # fmt: skip
    return (num + flipped(num_back, False)) / (den + flipped(den_back, False) + 1e-8)


def _with_backward(way: Way, inputs: list[Tensor]) -> Way:
    def both() -> Tensor:
        return torch.autograd.grad(way().sum(), inputs)[0]

    return both


def _race(ways: dict[str, Way], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, after one round that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            taken[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def _measured_memory(name: str, options: argparse.Namespace) -> float:
    flags = [f"--{key}={getattr(options, key)}" for key in ("frames", "heads", "channels")]
    command = [sys.executable, __file__, "--one", name, f"--tokens={options.tokens[0]}", *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["mib"]


def _memory_mib(options: argparse.Namespace) -> float:
    """Growth of the peak over forward and backward; a tiny call first, so that libraries have taken their own."""
    small = argparse.Namespace(frames=2, tokens=[2], heads=1, channels=8)
    _with_backward(*_way(options.one, small))()
    way, inputs = _way(options.one, options)
    before = _peak_kib()
    _with_backward(way, inputs)()
    return (_peak_kib() - before) / 1024


def _peak_kib() -> int:
    """From /proc, since getrusage's peak is inherited from the process that started this one."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    raise SystemExit(main())
