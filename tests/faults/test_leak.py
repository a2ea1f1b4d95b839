"""A worker that annotates a thousand clips holds what it held after two hundred; a leak that is planted is found."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.worker_memory import Held, growth_kib, held_over, small_config
from tests.faults.dummy import dummy_config
from wmkit.annotate.pipeline import AnnotateConfig

# Of a worker's 200 clips before it is replaced, 8 MiB together: a hundredth of what one clip needs. A leak of one small
# frame a clip (128x72 px, 27 KiB) stays below it only if the allocator finds room in what is free already.
MOST_KIB = 40.0
LEAK_BYTES = 128 << 10


def rows(gib: list[float]) -> list[Held]:
    return [Held(name="", end="ok", gib=value, core_s=0.0) for value in gib]


def test_the_measure_tells_growth_from_one_step_and_from_warming_up() -> None:
    flat = [0.25] * 1000
    assert growth_kib(rows(flat)) == 0
    assert growth_kib(rows([0.1 + 0.15 * min(k, 150) / 150 for k in range(1000)])) == 0, "pools that fill at first"
    assert growth_kib(rows([0.25 + 0.5 * (k > 900) for k in range(1000)])) == 0, "one large clip, late"
    slope = [0.25 + 50 * k / 2**20 for k in range(1000)]
    assert growth_kib(rows(slope)) == pytest.approx(50)


def test_a_leak_that_is_planted_is_found(tmp_path: Path) -> None:
    """The real worker on 60 made videos with a backend that costs nothing: flat, and with 128 KiB kept of each."""
    config: AnnotateConfig = replace(dummy_config(), depth=None)
    sound = held_over(60, tmp_path / "sound", config)
    leaking = held_over(60, tmp_path / "leaking", config, leak_bytes=LEAK_BYTES)
    assert {row.end for row in sound} == {"ok"}
    assert growth_kib(sound) < MOST_KIB < growth_kib(leaking)
    assert growth_kib(leaking) == pytest.approx(LEAK_BYTES / 1024, rel=0.3)  # malloc takes it from the kernel as it is


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_thousand_clips_leave_nothing_behind(shared_data: Path, tmp_path: Path) -> None:
    """Every stage of the default annotator over real decoding, awkward files among them: ten minutes of CPU."""
    held = held_over(1000, tmp_path, small_config(), shared_data / "awkward")
    ends = {row.end for row in held}
    assert {"ok", "no_trajectory", "decode/zero_frames"} <= ends
    assert growth_kib(held) < MOST_KIB
