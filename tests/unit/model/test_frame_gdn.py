"""The frame-wise gated delta rule: every path equals the equation, and the state stays bounded."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.house.source_tree import ROOT
from tests.unit.model.gdn_inputs import SIZES, assert_close, gdn_inputs, values_and_gradients
from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn import (
    Backend,
    ChunkLayout,
    GdnState,
    bidirectional_read,
    frame_gdn,
    key_scale,
    stream_frame_gdn,
    stream_read,
)
from wmkit.model.ops.frame_gdn.chain import block_chain, serial_chain
from wmkit.model.ops.frame_gdn.literal import frame_states_literal
from wmkit.model.ops.frame_gdn.scan import TORCH_PRODUCTS
from wmkit.model.ops.frame_gdn.tokens import frame_writes

FAST: tuple[Backend, ...] = ("scan", "block")


@pytest.fixture(autouse=True)
def nan_in_fresh_memory() -> Iterator[None]:
    """Memory that nobody wrote reads as NaN, so a forgotten frame cannot pass for zeros."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # a module of properties
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def layouts(frames: int) -> list[ChunkLayout]:
    """Bidirectional, causal, chunk-causal as released, and uneven."""
    uneven = ChunkLayout(frames=(frames,) if frames < 3 else (1, frames - 2, 1))
    return [ChunkLayout.whole(frames), ChunkLayout.causal(frames), ChunkLayout.first_plus_one(frames), uneven]


def run(backend: Backend, layout: ChunkLayout, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The whole op from a past state: output and both states after it."""
    q_rot, k_rot, q, k, v, beta, decay, memory, normaliser = inputs
    past = GdnState(memory=memory, normaliser=normaliser)
    out, state = stream_frame_gdn((q_rot, k_rot), (q, k), v, beta, decay, past, layout=layout, backend=backend)
    return out, state.memory, state.normaliser


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_paths_equal_the_equation_in_values_and_all_gradients(size: tuple[int, ...], backend: Backend) -> None:
    inputs = gdn_inputs(size)
    for layout in layouts(size[2]):
        want = values_and_gradients(lambda *x, layout=layout: run("literal", layout, *x), inputs)
        got = values_and_gradients(lambda *x, layout=layout: run(backend, layout, *x), inputs)
        # float64 with sums of at most 13 terms over at most 9 frames: a few hundred roundings of 1e-16.
        assert_close(got[0], want[0], 1e-12)
        assert_close(got[1], want[1], 1e-12)


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(
    ("dtype", "tolerance", "gradient_tolerance"),
    [
        # 24-bit floats, sums of 64 * 16 terms and a division: some ten roundings of 6e-8, a hundred in gradients.
        (torch.float32, 3e-6, 1e-5),
        # Inputs are the same bfloat16 numbers in both, sums and states float32: what differs is the rounding of
        # outputs to 8 bits, 2^-9, and of gradients up to three times: beta and decay serve two streams.
        (torch.bfloat16, 2e-3, 6e-3),
    ],
    ids=str,
)
def test_short_floats_stay_close_to_float64(
    dtype: torch.dtype, tolerance: float, gradient_tolerance: float, backend: Backend
) -> None:
    inputs = gdn_inputs((1, 2, 8, 64, 16, 16), dtype=dtype)
    wide = [x.detach().double().requires_grad_() for x in inputs]
    for layout in (ChunkLayout.whole(8), ChunkLayout.first_plus_one(8)):
        want = values_and_gradients(lambda *x, layout=layout: run("literal", layout, *x), wide)
        got = values_and_gradients(lambda *x, layout=layout: run(backend, layout, *x), inputs)
        assert got[0][0].dtype is dtype
        assert got[0][1].dtype is got[0][2].dtype is torch.float32
        assert_close(got[0], want[0], tolerance)
        assert_close(got[1], want[1], gradient_tolerance)


def test_float32_does_not_drift_over_a_minute_of_frames() -> None:
    inputs = gdn_inputs((1, 1, 400, 4, 8, 8), dtype=torch.float32)
    inputs[6] = (1 - inputs[6].detach() * 0.01).requires_grad_()  # decay near 1: a state that lasts
    wide = [x.detach().double().requires_grad_() for x in inputs]
    want = values_and_gradients(lambda *x: run("literal", ChunkLayout.whole(400), *x), wide)
    got = values_and_gradients(lambda *x: run("scan", ChunkLayout.whole(400), *x), inputs)
    # Transitions shrink what is wrong, so 400 steps cost a few roundings of 6e-8, as 8 do.
    assert_close(got[0], want[0], 5e-6)
    assert_close(got[1], want[1], 2e-5)


def test_autocast_does_not_round_the_states() -> None:
    inputs = gdn_inputs((1, 2, 8, 64, 16, 16), dtype=torch.float32)
    plain = run("scan", ChunkLayout.whole(8), *inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = run("scan", ChunkLayout.whole(8), *inputs)
    for mine, theirs in zip(plain, cast, strict=True):
        assert torch.equal(mine, theirs)


def test_gradients_agree_with_finite_differences() -> None:
    """Of the specification itself, and of the chain's own backward with both edges, which no other test reaches."""
    inputs = gdn_inputs((1, 1, 4, 2, 2, 2))
    for backend in ("literal", "scan"):
        assert torch.autograd.gradcheck(lambda *x, b=backend: run(b, ChunkLayout(frames=(2, 2)), *x), inputs)


def test_single_token_frames_are_the_published_delta_rule() -> None:
    _, _, _, k, v, beta, decay, *_ = (x.detach() for x in gdn_inputs((1, 1, 6, 1, 4, 3)))
    # Gated DeltaNet (arXiv 2412.06464) Eq. 10 in its own orientation: S (E, D), S_t = S g (I - b k kT) + b v kT.
    S = torch.zeros(3, 4, dtype=torch.float64)
    for t in range(6):
        key, value, b, g = k[0, 0, t, 0], v[0, 0, t, 0], beta[0, 0, t, 0], decay[0, 0, t]
        S = S @ (g * (torch.eye(4, dtype=torch.float64) - b * torch.outer(key, key))) + b * torch.outer(value, key)
        torch.testing.assert_close(frame_states_literal(k, v, beta, decay)[0, 0, t], S.T, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("backend", ["literal", *FAST])
def test_backward_read_is_the_flipped_sequence_without_the_frame_itself(backend: Backend) -> None:
    q, k, _, _, v, beta, decay, *_ = (x.detach() for x in gdn_inputs((2, 2, 5, 3, 4, 4)))
    T = k.shape[2]
    both = bidirectional_read(q, k, v, beta, decay, backend=backend)
    forward = q @ frame_states_literal(k, v, beta, decay)
    for t in range(T):
        later = [x[:, :, t + 1 :].flip(2) for x in (k, v, beta, decay)]
        future = q[:, :, t] @ frame_states_literal(*later)[:, :, -1] if t + 1 < T else 0.0
        torch.testing.assert_close(both[:, :, t] - forward[:, :, t], future + torch.zeros_like(both[:, :, t]))


def test_reversed_time_gives_the_reversed_exclusive_reads() -> None:
    q, k, _, _, v, beta, decay, *_ = (x.detach() for x in gdn_inputs((1, 2, 6, 3, 4, 4)))
    flip = [x.flip(2) for x in (q, k, v, beta, decay)]
    own = q @ ((k * beta[..., None]).mT @ v)

    def future_only(*x: torch.Tensor) -> torch.Tensor:
        return bidirectional_read(*x) - x[0] @ frame_states_literal(*x[1:])

    def past_only(*x: torch.Tensor) -> torch.Tensor:
        """What is read of the frames before: the inclusive state without this frame's write and correction."""
        states = frame_states_literal(*x[1:])
        previous = torch.cat([torch.zeros_like(states[:, :, :1]), states[:, :, :-1]], dim=2)
        return x[0] @ previous

    torch.testing.assert_close(future_only(*flip).flip(2), past_only(q, k, v, beta, decay))
    # A clip of one frame has no direction: it reads its own write.
    single = [x[:, :, :1] for x in (q, k, v, beta, decay)]
    torch.testing.assert_close(bidirectional_read(*single), own[:, :, :1])


def test_normaliser_makes_constant_values_come_back() -> None:
    _, _, q, k, _, beta, decay, *_ = (x.detach() for x in gdn_inputs((2, 2, 5, 6, 4, 4)))
    value = torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64)
    out = frame_gdn((q, k), (q, k), value.expand(2, 2, 5, 6, 3), beta, decay)
    # The denominator carries an eps of 1e-8 on numbers of about 0.1 to 1.
    torch.testing.assert_close(out, value.expand_as(out), rtol=1e-6, atol=0)


COMPILED = """
import torch
from tests.unit.house.source_tree import ROOT
from tests.unit.model.gdn_inputs import assert_close, gdn_inputs, values_and_gradients
from wmkit.model.ops.frame_gdn import ChunkLayout, frame_gdn

layout = ChunkLayout.first_plus_one(4, 2)

def op(q_rot, k_rot, q, k, v, beta, decay):
    return (frame_gdn((q_rot, k_rot), (q, k), v, beta, decay, layout=layout, backend="scan"),)

inputs = gdn_inputs((1, 2, 4, 3, 4, 4))[:7]
compiled = torch.compile(op, backend="aot_eager", fullgraph=True)
want, got = values_and_gradients(op, inputs), values_and_gradients(compiled, inputs)
# The same float64 products in another order.
assert_close(got[0] + got[1], want[0] + want[1], 1e-13)
print("one graph")
"""


def test_compiles_into_one_graph() -> None:
    """Traced as a whole, backward too, in a process of its own: the shape checks of the tests cannot be traced.

    Without the compiler's code generation, which needs a C++ toolchain.
    """
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "one graph", done.stderr[-2000:]


@given(st.integers(1, 12), st.integers(1, 3), st.integers(0, 10_000), st.booleans(), st.integers(0, 2**11 - 1))
def test_blocks_of_frames_equal_one_frame_at_a_time(T: int, E: int, seed: int, reverse: bool, cuts: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    link = torch.randn(2, T - 1, 3, 3, generator=generator, dtype=torch.float64) / 3
    value = torch.randn(2, T, 3, E, generator=generator, dtype=torch.float64)
    cut = tuple(bool(cuts >> j & 1) for j in range(T - 1))
    # At most 12 products of matrices of norm about 1.
    torch.testing.assert_close(
        block_chain(link, value, cut, reverse), serial_chain(link, value, cut, reverse), rtol=1e-12, atol=1e-12
    )


def test_one_line_says_what_does_not_fit() -> None:
    q, k, _, _, v, beta, decay, *_ = (x.detach() for x in gdn_inputs((1, 1, 4, 2, 3, 3)))
    with pytest.raises(ConfigError, match="expected chunks of 4 frames in all, got 5"):
        bidirectional_read(q, k, v, beta, decay, layout=ChunkLayout.whole(5))
    with pytest.raises(ConfigError, match=r"backend triton .*; use backend scan"):
        bidirectional_read(q, k, v, beta, decay, backend="triton")
    with pytest.raises(ConfigError, match="at least one chunk of at least one frame"):
        ChunkLayout(frames=(3, 0))
    with pytest.raises(ConfigError, match="positive frames and chunk size"):
        ChunkLayout.first_plus_one(0)


def released_keys(raw_SD: torch.Tensor) -> torch.Tensor:
    """ReLU(RMSNorm(k)) / sqrt(D S) of one head, (1, 1, 1, S, D)."""
    S, D = raw_SD.shape
    normal = raw_SD / raw_SD.square().mean(-1, keepdim=True).add(1e-12).sqrt()
    return normal.relu()[None, None, None] * key_scale(D, S)


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 10_000), st.sampled_from(["random", "equal", "one"]))
def test_transition_norm_is_at_most_the_decay(D: int, S: int, seed: int, kind: str) -> None:
    """Eq. 5 with the worst gate, beta = 1, and the worst keys: all tokens of a frame alike."""
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randn(S, D, generator=generator, dtype=torch.float64)
    raw = {"random": raw, "equal": raw[:1].expand(S, D), "one": torch.ones(S, D, dtype=torch.float64)}[kind]
    k = released_keys(raw)
    beta, decay = torch.ones(1, 1, 1, S, dtype=torch.float64), torch.full((1, 1, 1), 0.9, dtype=torch.float64)
    eigenvalues = torch.linalg.eigvalsh(frame_writes(k, None, beta, decay, TORCH_PRODUCTS)[0])
    assert eigenvalues.abs().max().item() <= 0.9 + 1e-12  # rounding of an eigenvalue decomposition
    assert eigenvalues.min().item() >= -1e-12  # a frame never overshoots what it corrects
    assert k.square().sum().item() <= 1 + 1e-12


def test_without_the_root_of_the_tokens_the_state_explodes() -> None:
    """Paper Fig. 6: keys scaled by 1/sqrt(D) alone diverge, by 1/sqrt(D S) they do not."""
    S, D, T = 64, 8, 40
    raw = torch.randn(T, S, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    k = torch.cat([released_keys(frame) for frame in raw], dim=2)
    v = torch.ones(1, 1, T, S, 1, dtype=torch.float64)
    beta, decay = torch.full((1, 1, T, S), 0.99).double(), torch.full((1, 1, T), 0.99).double()
    bounded = stream_read((k, k), v, beta, decay, None)[1].norm()
    exploded = stream_read((k, k * S**0.5), v, beta, decay, None)[1].norm()
    # k·state predicts a value of 1 with keys of norm <= 1/sqrt(S): the fixed point is about sqrt(D S) in size.
    assert bounded < 10 * (D * S) ** 0.5
    assert exploded > 1e10
    # One overshooting frame is enough: without the root its transition has an eigenvalue below -1.
    transition, _ = frame_writes(k * S**0.5, v, beta, decay, TORCH_PRODUCTS)
    assert torch.linalg.eigvalsh(transition).min().item() < -1
