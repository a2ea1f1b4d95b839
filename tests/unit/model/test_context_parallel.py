"""The whole model with a clip's frames on 2 and 3 real processes: output and gradients of one process."""

from pathlib import Path

import pytest
import torch

from tests.unit.model.cp_model_worker import CASES, T, parts_of
from tests.unit.model.ranks import run_ranks
from wmkit.model.ops.frame_gdn import ChunkLayout

# float64; joined states and split sums round once more in each of three blocks.
TOLERANCE = 1e-10


@pytest.mark.parametrize("ranks", [2, 3])
def test_ranks_give_what_one_process_gives(ranks: int, tmp_path: Path) -> None:
    found = run_ranks("tests.unit.model.cp_model_worker", ranks, tmp_path, timeout_s=200)
    for name, case in CASES.items():
        want = parts_of(case, slice(0, T), None)
        ours = [part[name] for part in found]
        valid = torch.ones(2, T, dtype=torch.bool)
        if case.padded:
            valid[1, T - 2 :] = False
        for key in want:
            if key in ("out", "latent"):
                got, expected = torch.cat([part[key] for part in ours], dim=1)[valid], want[key][valid]
            else:
                got, expected = torch.stack([part[key] for part in ours if key in part]).sum(dim=0), want[key]
            torch.testing.assert_close(
                got, expected, rtol=TOLERANCE, atol=TOLERANCE, msg=lambda m, at=(name, key): f"{at}: {m}"
            )


def test_spans_say_what_a_part_of_a_clip_sees() -> None:
    chunks = ChunkLayout(frames=(4, 3, 1))
    assert chunks.spans(0, 8) == ((4, 4), (3, 7), (1, 8))
    assert chunks.spans(3, 6) == ((1, 4), (2, 7))
    assert chunks.cut(3, 8).frames == (1, 3, 1)
