"""A clip's frames over 1, 2 and 3 real processes on gloo: outputs and gradients of one process."""

from pathlib import Path

import pytest
import torch

from tests.unit.model.cp_worker import LAYOUTS, SIZE, weights
from tests.unit.model.gdn_inputs import assert_close, gdn_inputs
from tests.unit.model.ranks import run_ranks
from wmkit.model.ops.frame_gdn import bidirectional_read, frame_gdn


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_ranks_give_what_one_process_gives(ranks: int, tmp_path: Path) -> None:
    found = run_ranks("tests.unit.model.cp_worker", ranks, tmp_path, timeout_s=100)
    for name, layout in LAYOUTS.items():
        inputs = gdn_inputs(SIZE)[:7]
        q_rot, k_rot, q, k, v, beta, decay = inputs
        out = frame_gdn((q_rot, k_rot), (q, k), v, beta, decay, layout=layout, backend="literal")
        read = bidirectional_read(q_rot, k_rot, v, beta, decay, layout=layout, backend="literal")
        loss = (out * weights(tuple(out.shape), 1)).sum() + (read * weights(tuple(read.shape), 2)).sum()
        want = [out.detach(), read.detach(), *torch.autograd.grad(loss, inputs)]
        for backend in ("scan", "block"):
            got = [
                torch.cat([part[f"{name} {backend} {index}"] for part in found], dim=2) for index in range(len(want))
            ]
            # float64; joined states are one product further from the frames than a single scan's.
            assert_close(got, want, 1e-12)
