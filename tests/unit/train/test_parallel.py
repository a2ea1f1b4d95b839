"""Training on several processes under torchrun, gloo on the CPU: the steps of one process."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.unit.house.source_tree import ROOT
from tests.unit.train.parallel_worker import torchrun, trained
from wmkit.errors import ConfigError
from wmkit.train.parallel import ParallelConfig, Team, joined, share

# float64; the team adds the same gradients in another order, three steps of AdamW long.
TOLERANCE = 1e-9


@pytest.mark.parametrize(
    ("processes", "cp", "how"), [(2, 1, "keep"), (2, 2, "recompute"), (3, 1, "keep"), (4, 2, "keep")]
)
def test_a_team_takes_the_steps_of_one(processes: int, cp: int, how: str, tmp_path: Path) -> None:
    torchrun("tests.unit.train.parallel_worker", processes, str(tmp_path), str(cp), how)
    alone = trained(Team(), ParallelConfig())
    for rank in range(processes):
        found = torch.load(tmp_path / f"rank{rank}.pt", weights_only=True)
        assert found.keys() == alone.keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                found[name], value, rtol=TOLERANCE, atol=TOLERANCE, msg=lambda m, at=(rank, name): f"{at}: {m}"
            )


def test_recomputing_changes_nothing() -> None:
    kept, again = (trained(Team(), ParallelConfig(recompute=recompute)) for recompute in (False, True))
    for name, value in kept.items():
        assert torch.equal(again[name], value), name


COMPILED = """
import torch
from tests.unit.train.parallel_worker import trained
from wmkit.train.parallel import ParallelConfig, Team
torch.set_num_threads(1)
blocks = []
def traced(block):
    blocks.append(block)
    block._compiled_call_impl = torch.compile(block._call_impl, backend="eager")
torch.nn.Module.compile = traced
plain, compiled = (trained(Team(), ParallelConfig(compile=on)) for on in (False, True))
assert len(blocks) > 1
for name, value in plain.items():
    torch.testing.assert_close(compiled[name], value, rtol=1e-9, atol=1e-9, msg=name)
print("the same steps")
"""


@pytest.mark.timeout(300)
def test_compiled_blocks_take_the_same_steps() -> None:
    """The compiler's graphs without its code generation, which needs a C++ toolchain, in a process without shape
    checks; float64.
    """
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "the same steps", done.stderr[-2000:]


def test_a_process_of_its_own_is_a_team_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(ParallelConfig()) as team:
        assert (team.rank, team.size, team.mesh) == (0, 1, None)
        assert team.slots(3) == range(3)
        assert team.frames(9) is None
    with pytest.raises(ConfigError, match="divisor"), joined(ParallelConfig(cp=2)):
        pass


def test_shares_are_neighbours_and_differ_by_one() -> None:
    shares = [share(7, 3, part) for part in range(3)]
    assert [place for part in shares for place in part] == list(range(7))
    assert sorted(map(len, shares)) == [2, 2, 3]
