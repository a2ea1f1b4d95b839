"""Triton kernels against float64: python -m tests.unit.model.triton_worker [cuda]; prints a line when all agree.

With `compile` in place of a device, the kernels are compiled for an H100, which needs none.
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


H100_SHARED_BYTES = 227 * 1024  # what a block of threads may have (CUDA C++ Programming Guide, compute capability 9.0)


def compile_for_h100() -> None:
    """Released widths in bfloat16: code that is there, uses Hopper's matrix units and fits its shared memory."""
    import triton  # pyright: ignore[reportMissingImports]
    from triton.backends.compiler import GPUTarget  # pyright: ignore[reportMissingImports]
    from triton.compiler import ASTSource  # pyright: ignore[reportMissingImports]

    from wmkit.model.ops.frame_gdn import triton_kernels

    wide: dict[str, object] = {"D_PAD": 128, "E_PAD": 128, "BLOCK_S": 64}
    tokens, sums = "*bf16", "*fp32"
    cases = {
        "_gram_kernel": ({"a": tokens, "b": tokens, "weight": sums, "out": sums}, wide | {"HAS_WEIGHT": True}),
        "_times_matrix_kernel": (
            {"x": tokens, "matrix": sums, "scale": sums, "other": tokens, "out": tokens, "dots": sums},
            wide | {"HAS_SCALE": True, "HAS_OTHER": True},
        ),
        "_chain_kernel": (
            {"link": sums, "value": sums, "passing": sums, "out": sums},
            {"D_PAD": 128, "E_PAD": 32, "REVERSE": True, "HAS_CUT": True},
        ),
    }
    for name, (pointers, constants) in cases.items():
        kernel = getattr(triton_kernels, name)
        types = {arg: "constexpr" if arg in constants else pointers.get(arg, "i32") for arg in kernel.arg_names}
        values = {(kernel.arg_names.index(arg),): value for arg, value in constants.items()}
        source = ASTSource(kernel, types, values)
        built = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=triton_kernels.LAUNCH)
        assert "wgmma.mma_async" in built.asm["ptx"], name
        assert built.metadata.shared <= H100_SHARED_BYTES, name
    print("kernels compile")


if __name__ == "__main__":
    if sys.argv[1:] == ["compile"]:
        compile_for_h100()
    else:
        main(sys.argv[1] if len(sys.argv) > 1 else "cpu")
