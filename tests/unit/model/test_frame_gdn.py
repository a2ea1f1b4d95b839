"""The frame-wise gated delta rule: the fast twin equals the equation, and the state stays bounded."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wmkit.model.ops.frame_gdn import (
    bidirectional_read,
    frame_gdn,
    frame_states_chunk,
    frame_states_naive,
    frame_transitions,
    key_scale,
)

# B, H, T, S, D, E: odd sizes, one frame, one token, more channels than tokens and the other way round.
SIZES = [(2, 3, 5, 7, 4, 4), (1, 1, 1, 3, 2, 5), (1, 2, 9, 1, 3, 1), (2, 1, 3, 2, 8, 6), (1, 1, 4, 13, 5, 3)]


@pytest.fixture(autouse=True)
def nan_in_fresh_memory() -> Iterator[None]:
    """Memory that nobody wrote reads as NaN, so a forgotten frame cannot pass for zeros."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]  # a module of properties
    assert torch.empty(3).isnan().all()
    yield
    torch.use_deterministic_algorithms(False)


def inputs(size: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, ...]:
    """q, k, v, beta, decay, scaled as the model scales them; float64 leaves with gradients."""
    B, H, T, S, D, E = size
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    tensors = (
        draw(B, H, T, S, D).abs(),
        draw(B, H, T, S, D).relu() * key_scale(D, S),
        draw(B, H, T, S, E),
        draw(B, H, T, S).sigmoid(),
        draw(B, H, T).sigmoid(),
    )
    return tuple(tensor.requires_grad_() for tensor in tensors)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_chunk_equals_naive_in_values_and_gradients(size: tuple[int, ...]) -> None:
    _, *arguments = inputs(size)
    naive, chunk = frame_states_naive(*arguments), frame_states_chunk(*arguments)
    # float64 with sums of at most 13 terms over at most 9 frames: a few hundred roundings.
    torch.testing.assert_close(chunk, naive, rtol=1e-12, atol=1e-13)
    weight = torch.randn(naive.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    want = torch.autograd.grad((naive * weight).sum(), arguments)
    got = torch.autograd.grad((chunk * weight).sum(), arguments, allow_unused=True)
    if size[2] == 1:  # a single frame starts from nothing, so there is nothing to decay
        assert got[3] is None
        assert not want[3].any()
        want, got = want[:3], got[:3]
    for mine, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)


def test_single_token_frames_are_the_published_delta_rule() -> None:
    _, k, v, beta, decay = (x.detach() for x in inputs((1, 1, 6, 1, 4, 3)))
    # Gated DeltaNet (arXiv 2412.06464) Eq. 10 in its own orientation: S (E, D), S_t = S g (I - b k kT) + b v kT.
    S = torch.zeros(3, 4, dtype=torch.float64)
    for t in range(6):
        key, value, b, g = k[0, 0, t, 0], v[0, 0, t, 0], beta[0, 0, t, 0], decay[0, 0, t]
        S = S @ (g * (torch.eye(4, dtype=torch.float64) - b * torch.outer(key, key))) + b * torch.outer(value, key)
        torch.testing.assert_close(frame_states_naive(k, v, beta, decay)[0, 0, t], S.T, rtol=1e-12, atol=1e-14)


def test_state_sees_no_later_frame() -> None:
    _, k, v, beta, decay = (x.detach() for x in inputs((1, 2, 6, 3, 4, 4)))
    before = frame_states_chunk(k, v, beta, decay)
    for tensor in (k, v, beta, decay):
        tensor[:, :, 4:] += 1.0
    after = frame_states_chunk(k, v, beta, decay)
    assert torch.equal(after[:, :, :4], before[:, :, :4])
    assert not torch.isclose(after[:, :, 4:], before[:, :, 4:]).all()


def test_backward_read_is_the_flipped_sequence_without_the_frame_itself() -> None:
    q, k, v, beta, decay = (x.detach() for x in inputs((2, 2, 5, 3, 4, 4)))
    T = k.shape[2]
    both = bidirectional_read(q, k, v, beta, decay)
    forward = q @ frame_states_naive(k, v, beta, decay)
    for t in range(T):
        later = [x[:, :, t + 1 :].flip(2) for x in (k, v, beta, decay)]
        future = q[:, :, t] @ frame_states_naive(*later)[:, :, -1] if t + 1 < T else 0.0
        torch.testing.assert_close(both[:, :, t] - forward[:, :, t], future + torch.zeros_like(both[:, :, t]))


def test_reversed_time_gives_the_reversed_exclusive_reads() -> None:
    q, k, v, beta, decay = (x.detach() for x in inputs((1, 2, 6, 3, 4, 4)))
    flip = [x.flip(2) for x in (q, k, v, beta, decay)]
    own = q @ ((k * beta[..., None]).mT @ v)

    def future_only(*x: torch.Tensor) -> torch.Tensor:
        return bidirectional_read(*x) - x[0] @ frame_states_naive(*x[1:])

    def past_only(*x: torch.Tensor) -> torch.Tensor:
        """What is read of the frames before: the inclusive state without this frame's write and correction."""
        states = frame_states_naive(*x[1:])
        previous = torch.cat([torch.zeros_like(states[:, :, :1]), states[:, :, :-1]], dim=2)
        return x[0] @ previous

    torch.testing.assert_close(future_only(*flip).flip(2), past_only(q, k, v, beta, decay))
    # A clip of one frame has no direction: it reads its own write.
    single = [x[:, :, :1] for x in (q, k, v, beta, decay)]
    torch.testing.assert_close(bidirectional_read(*single), own[:, :, :1])


def test_normaliser_makes_constant_values_come_back() -> None:
    q, k, _, beta, decay = (x.detach() for x in inputs((2, 2, 5, 6, 4, 4)))
    value = torch.tensor([3.0, -2.0, 0.5], dtype=torch.float64)
    out = frame_gdn((q, k), (q, k), value.expand(2, 2, 5, 6, 3), beta, decay)
    # The denominator carries an eps of 1e-8 on numbers of about 0.1 to 1.
    torch.testing.assert_close(out, value.expand_as(out), rtol=1e-6, atol=0)


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
    norm = torch.linalg.matrix_norm(frame_transitions(k, beta, decay), ord=2)
    assert norm.item() <= 0.9 + 1e-12  # rounding of a singular value decomposition
    written = (k.square().sum() * 1.0).item()
    assert written <= 1 + 1e-12


def test_without_the_root_of_the_tokens_the_state_explodes() -> None:
    """Paper Fig. 6: keys scaled by 1/sqrt(D) alone diverge, by 1/sqrt(D S) they do not."""
    S, D, T = 64, 8, 40
    raw = torch.randn(T, S, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    k = torch.cat([released_keys(frame) for frame in raw], dim=2)
    v = torch.ones(1, 1, T, S, 1, dtype=torch.float64)
    beta, decay = torch.full((1, 1, T, S), 0.99), torch.full((1, 1, T), 0.99)
    bounded = frame_states_chunk(k, v, beta.double(), decay.double())[0, 0, -1].norm()
    exploded = frame_states_chunk(k * S**0.5, v, beta.double(), decay.double())[0, 0, -1].norm()
    # k·state predicts a value of 1 with keys of norm <= 1/sqrt(S): the fixed point is about sqrt(D S) in size.
    assert bounded < 10 * (D * S) ** 0.5
    assert exploded > 1e10
