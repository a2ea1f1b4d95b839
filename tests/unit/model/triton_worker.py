"""Triton kernels against float64: python -m tests.unit.model.triton_worker [cuda]; prints a line when all agree.

A process of its own, because the interpreter is chosen by the environment before the kernels are imported, and the
tests' shape checks would wrap the kernels.
"""

import sys

import torch

from tests.unit.model.gdn_inputs import assert_close, gdn_inputs, values_and_gradients
from wmkit.model.ops.frame_gdn import Backend, ChunkLayout, GdnState, stream_frame_gdn, triton_path

# Padding in every direction: tokens over one tile, channels that are no power of two, one frame, one token.
SIZES = [(1, 2, 3, 70, 20, 18), (2, 1, 1, 3, 5, 5), (1, 1, 4, 1, 3, 1), (1, 1, 2, 40, 12, 40)]


def run(backend: Backend, layout: ChunkLayout, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    q_rot, k_rot, q, k, v, beta, decay, memory, normaliser = inputs
    past = GdnState(memory=memory, normaliser=normaliser)
    out, state = stream_frame_gdn((q_rot, k_rot), (q, k), v, beta, decay, past, layout=layout, backend=backend)
    return out, state.memory, state.normaliser


def check(device: str, size: tuple[int, ...], layout: ChunkLayout, dtype: torch.dtype, tolerance: float) -> None:
    inputs = [x.detach().to(device).requires_grad_() for x in gdn_inputs(size, dtype=dtype)]
    # As the model has them: tokens of (B, T, S, H, D) seen as (B, H, T, S, D).
    inputs = [x.detach().movedim(1, 3).contiguous().movedim(3, 1).requires_grad_() if x.dim() == 5 else x
              for x in inputs]  # fmt: skip
    wide = [x.detach().double().requires_grad_() for x in inputs]
    want = values_and_gradients(lambda *x: run("literal", layout, *x), wide)
    got = values_and_gradients(lambda *x: run("triton", layout, *x), inputs)
    assert_close(got[0] + got[1], want[0] + want[1], tolerance)


def main(device: str) -> None:
    torch.set_num_threads(1)
    # Fresh memory is NaN: what a kernel forgets to write shows.
    torch.use_deterministic_algorithms(True)
    for size in SIZES:
        # float32 throughout: a hundred roundings of 6e-8 in gradients.
        check(device, size, ChunkLayout.whole(size[2]), torch.float32, 1e-5)
    check(device, (1, 1, 4, 3, 4, 4), ChunkLayout.first_plus_one(4, 1), torch.float32, 1e-5)
    # Half-precision operands of every product: weighted keys, states as read, gradients; two or three in a row, each
    # 2^-9 (bfloat16) and 2^-12 (float16).
    check(device, SIZES[0], ChunkLayout(frames=(2, 1)), torch.bfloat16, 2e-2)
    check(device, SIZES[0], ChunkLayout(frames=(2, 1)), torch.float16, 3e-3)
    assert triton_path.self_check(torch.device(device)) is None
    gram = triton_path.gram
    triton_path.gram = lambda *x: 1.01 * gram(*x)  # a compiler's mistake: one in a hundred is noticed
    said = triton_path.self_check(torch.device(device))
    assert said is not None
    assert "differs from scan" in said
    print("kernels agree")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
