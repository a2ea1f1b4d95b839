"""Frame-wise GDN against flash-linear-attention's naive token-wise rule (MIT), where the two say the same."""

import importlib.util
from collections.abc import Callable
from importlib.metadata import files

import pytest
import torch

from tests.unit.model.gdn_inputs import assert_close, gdn_inputs
from wmkit.errors import ConfigError
from wmkit.model.ops.frame_gdn import NORMALISER_EPS, ChunkLayout, bidirectional_read, frame_gdn, stream_read
from wmkit.model.ops.token_gdn import rule_read, token_gdn


@pytest.fixture(scope="module")
def token_rule() -> Callable[..., tuple[torch.Tensor, torch.Tensor]]:
    """fla's naive recurrent gated delta rule from its own file: its package cannot be imported without Triton."""
    listed = files("fla-core") or []
    path = next(file for file in listed if str(file).endswith("fla/ops/gated_delta_rule/naive.py")).locate()
    spec = importlib.util.spec_from_file_location("fla_naive", str(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.naive_recurrent_gated_delta_rule


# fla's naive rule computes in float32: sums of some ten terms over at most 36 tokens.
FLOAT32 = 5e-6


def test_frames_of_one_token_are_their_rule(token_rule: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> None:
    q, k, _, _, v, beta, decay, past, _ = (x.detach() for x in gdn_inputs((2, 3, 12, 1, 6, 4)))
    ours, state = stream_read((q, k), v, beta, decay, past, layout=ChunkLayout.causal(12))
    tokens = [x[..., 0, :].transpose(1, 2) for x in (q, k, v)]
    gates = beta[..., 0].transpose(1, 2), decay.log().transpose(1, 2)
    theirs, last = token_rule(*tokens, *gates, scale=1.0, initial_state=past, output_final_state=True)
    assert_close([ours[..., 0, :].transpose(1, 2), state], [theirs, last], FLOAT32)


def test_a_frame_is_one_token_an_eigenvector(token_rule: Callable[..., tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Kᵀ diag(beta) K = sum of l u uᵀ: orthogonal keys do not see each other's writes, so in turn equals at once.

    The frame becomes D tokens with keys u, betas l and values uᵀ Kᵀ diag(beta) V / l; the first one carries the decay,
    and after the last one stands the state that the frame's queries read.
    """
    B, H, T, S, D, E = 1, 2, 6, 9, 5, 4
    _, k, _, _, v, beta, decay, past, _ = (x.detach() for x in gdn_inputs((B, H, T, S, D, E)))
    weighted = k * beta[..., None]
    size, vectors = torch.linalg.eigh(weighted.mT @ k)
    values = vectors.mT @ (weighted.mT @ v) / size[..., None]
    # (B, H, T, D, ...) -> (B, T D, H, ...)
    keys, values, betas = (x.movedim(1, 3).flatten(1, 2) for x in (vectors.mT, values, size))
    first = torch.zeros(T, D, dtype=torch.float64)
    first[:, 0] = 1
    logs = (decay.log()[..., None] * first).movedim(1, 3).flatten(1, 2)
    for unit in range(D):  # reading with unit vectors shows the whole state
        query = torch.zeros_like(keys)
        query[..., unit] = 1
        rows, last = token_rule(
            query, keys, values, betas, logs, scale=1.0, initial_state=past, output_final_state=True
        )
        after_frame = rows.unflatten(1, (T, D))[:, :, -1].movedim(1, 2)
        unit_query = torch.zeros(B, H, T, S, D, dtype=torch.float64)
        unit_query[..., unit] = 1
        ours, state = stream_read((unit_query, k), v, beta, decay, past, layout=ChunkLayout.causal(T))
        assert_close([ours[..., 0, :], state], [after_frame, last], FLOAT32)


def test_several_tokens_with_overlapping_keys_are_another_rule(
    token_rule: Callable[..., tuple[torch.Tensor, torch.Tensor]],
) -> None:
    """At once and in turn differ as soon as keys overlap: the oracle above would notice a token-wise op."""
    q, k, _, _, v, beta, decay, *_ = (x.detach() for x in gdn_inputs((1, 1, 3, 6, 4, 4)))
    k = k * 3
    ours = bidirectional_read(q, k, v, beta, decay, layout=ChunkLayout.causal(3))
    tokens = [x.movedim(1, 3).flatten(1, 2) for x in (q, k, v)]
    logs = torch.zeros(1, 18, 1, dtype=torch.float64)
    logs[:, ::6, 0] = decay[0, 0].log()
    theirs, _ = token_rule(*tokens, beta.movedim(1, 3).flatten(1, 2), logs, scale=1.0)
    assert not torch.allclose(ours[0, 0, :, -1], theirs[0, 5::6, 0].double(), rtol=1e-2)


def test_token_wise_mixer_is_their_rule_in_both_directions(
    token_rule: Callable[..., tuple[torch.Tensor, torch.Tensor]],
) -> None:
    q_rot, k_rot, q, k, v, beta, decay = (x.detach() for x in gdn_inputs((2, 2, 4, 3, 6, 5))[:7])
    k_rot, k = k_rot * 2, k * 2  # keys that overlap: a frame at once would read something else
    first = torch.ones_like(beta)
    first[..., 0] = decay
    num = rule_read(token_rule, q_rot, k_rot, v, beta, first)
    den = rule_read(token_rule, q, k, torch.ones_like(v[..., :1]), beta, first)
    want = num.double() / (den.double() + NORMALISER_EPS)
    assert_close([token_gdn((q_rot, k_rot), (q, k), v, beta, decay)], [want], FLOAT32)
    at_once = frame_gdn((q_rot, k_rot), (q, k), v, beta, decay)
    assert (at_once - want).abs().max() > 1e-3 * want.abs().max()


def test_token_wise_mixer_says_why_it_cannot_run() -> None:
    q, k, _, _, v, beta, decay, *_ = (x.detach() for x in gdn_inputs((1, 1, 2, 2, 3, 3)))
    with pytest.raises(ConfigError, match="backend fla needs a CUDA device, got cpu; use backend scan"):
        token_gdn((q, k), (q, k), v, beta, decay, backend="fla")


def test_gradients_of_the_token_wise_mixer() -> None:
    inputs = gdn_inputs((1, 1, 2, 2, 2, 2))[:7]
    assert torch.autograd.gradcheck(
        lambda q_rot, k_rot, q, k, v, beta, decay: token_gdn((q_rot, k_rot), (q, k), v, beta, decay), inputs
    )
