"""`StreamingShards`: the same global batches on any ranks, workers and resumes; damage that is named or declared."""

import io
import json
import os
import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.shard_samples import make_shards
from tests.tiny_shards import KEYS, members, sealed, vouched
from wmkit.dataset.batch import Batch
from wmkit.dataset.loader import StreamingShards
from wmkit.dataset.loader_config import SAMPLED_EVERY, LoaderConfig
from wmkit.dataset.schema import open_shards
from wmkit.errors import ConfigError, CorruptShardError, InputError

# Three workers are more than a small machine has cores; what they bring has to be the same there too.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

CONFIG = LoaderConfig(frames=3, height=8, width=8, batch_size=6, seed=5, steps=7)


def same(left: Batch, right: Batch) -> bool:
    return (
        (left.keys, left.metric, left.step, left.damaged) == (right.keys, right.metric, right.step, right.damaged)
        and torch.equal(left.video, right.video)
        and torch.equal(left.world_from_cam, right.world_from_cam)
        and torch.equal(left.intrinsics, right.intrinsics)
    )


def whole(shares: Sequence[Batch]) -> Batch:
    """The batch of all ranks from that of each."""
    return Batch(
        video=torch.cat([share.video for share in shares]),
        world_from_cam=torch.cat([share.world_from_cam for share in shares]),
        intrinsics=torch.cat([share.intrinsics for share in shares]),
        keys=tuple(key for share in shares for key in share.keys),
        metric=tuple(flag for share in shares for flag in share.metric),
        step=shares[0].step,
        damaged=tuple(key for share in shares for key in share.damaged),
    )


@pytest.fixture(scope="module")
def wanted(sound_shards: Path) -> list[Batch]:
    """What a run that is never stopped, on one rank without workers, sees."""
    return list(StreamingShards(sound_shards, CONFIG))


def test_a_plain_pass_is_the_replay_of_every_step(sound_shards: Path, wanted: list[Batch]) -> None:
    loader = StreamingShards(sound_shards, CONFIG)
    assert [batch.step for batch in wanted] == list(range(7))
    assert all(same(loader.replay(batch.step), batch) for batch in reversed(wanted))
    assert len(loader) == 7, "a replay moves nothing"


@pytest.mark.parametrize("world", [1, 2, 4, 5, 6])
def test_every_world_size_has_the_same_batches_and_equal_steps(
    world: int, sound_shards: Path, wanted: list[Batch]
) -> None:
    """Four ranks do not divide a batch of six: two of them have one crop, two have two, all have seven steps."""
    ranks = [list(StreamingShards(sound_shards, CONFIG, rank=rank, world_size=world)) for rank in range(world)]
    assert {len(steps) for steps in ranks} == {7}
    for step, shares in enumerate(zip(*ranks, strict=True)):
        sizes = [len(share.keys) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert same(whole(shares), wanted[step])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_dataloader_gives_the_same_batches_in_order(workers: int, sound_shards: Path, wanted: list[Batch]) -> None:
    loader = DataLoader(StreamingShards(sound_shards, CONFIG), batch_size=None, num_workers=workers)
    seen = list(loader)
    assert len(seen) == len(wanted)
    assert all(same(one, other) for one, other in zip(seen, wanted, strict=True))


@pytest.mark.parametrize(("before", "after", "kill"), [(1, 4, 3), (6, 2, 1), (3, 1, 6), (5, 5, 0)])
def test_a_run_goes_on_with_another_world_and_other_workers(
    before: int, after: int, kill: int, sound_shards: Path, wanted: list[Batch]
) -> None:
    """Three workers that have prefetched further than was used; the state travels as text."""
    first = StreamingShards(sound_shards, CONFIG, rank=before - 1, world_size=before)
    used = [batch for batch, _ in zip(DataLoader(first, batch_size=None, num_workers=3), range(kill), strict=False)]
    state = json.loads(json.dumps(first.state_dict(used[-1].step + 1 if used else 0)))
    ranks = []
    for rank in range(after):
        loader = StreamingShards(sound_shards, CONFIG, rank=rank, world_size=after)
        loader.load_state_dict(state)
        ranks.append(list(DataLoader(loader, batch_size=None, num_workers=2)) if rank == 0 else list(loader))
    rest = [whole(shares) for shares in zip(*ranks, strict=True)]
    assert [batch.step for batch in rest] == list(range(kill, 7))
    assert all(same(batch, wanted[batch.step]) for batch in rest)


def test_the_state_is_a_few_whole_numbers(sound_shards: Path) -> None:
    loader = StreamingShards(sound_shards, CONFIG, rank=1, world_size=3)
    next(iter(loader))
    assert loader.state_dict() == {
        "step": 1, "seed": 5, "batch_size": 6, "samples": [3], "shuffle": [64, 16], "weights": [[0, [1]]],
    }  # fmt: skip
    assert len(loader) == 6


@pytest.mark.parametrize("change", [{"seed": 6}, {"batch_size": 5}, {"shuffle_block": 2}])
def test_a_state_of_another_order_is_refused(change: dict[str, int], sound_shards: Path) -> None:
    state = StreamingShards(sound_shards, CONFIG).state_dict()
    loader = StreamingShards(sound_shards, replace(CONFIG, **change))
    with pytest.raises(ConfigError, match="resume with the same shards"):
        loader.load_state_dict(state)
    with pytest.raises(ConfigError, match="a loader's state"):
        loader.load_state_dict({name: value for name, value in loader.state_dict().items() if name != "step"})


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")  # torchdata 0.11 on a newer torch
def test_torchdata_resumes_it(sound_shards: Path, wanted: list[Batch]) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    for workers in (0, 3):
        for kill in (1, 4):
            first = stateful(StreamingShards(sound_shards, CONFIG), batch_size=None, num_workers=workers)
            stream = iter(first)
            assert all(same(next(stream), wanted[step]) for step in range(kill))
            state = first.state_dict()
            second = stateful(StreamingShards(sound_shards, CONFIG), batch_size=None, num_workers=workers)
            second.load_state_dict(state)
            rest = list(second)
            assert [batch.step for batch in rest] == list(range(kill, 7))
            assert all(same(batch, wanted[batch.step]) for batch in rest)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips that the first folder has not: another size."""
    return make_shards(tmp_path_factory.mktemp("second"), clips=2, frames=8, size=(48, 64), metric=True)


def test_folders_mix_by_exact_counts_that_change_at_a_step(sound_shards: Path, second: Path) -> None:
    """Of every four draws three are of the first folder; from step 4 on, one of three."""
    config = replace(CONFIG, batch_size=4, steps=10)
    loader = StreamingShards([sound_shards, second], config, weights=[3, 1])
    early = [loader.replay(step) for step in range(4)]
    assert all(Counter(batch.metric) == {False: 3, True: 1} for batch in early)
    loader.set_weights([1, 2], 4)
    assert all(same(loader.replay(step), early[step]) for step in range(4))
    late = [flag for step in range(4, 10) for flag in loader.replay(step).metric]
    assert all(Counter(late[at : at + 3]) == {False: 1, True: 2} for at in range(0, 24, 3))
    resumed = StreamingShards([sound_shards, second], config, weights=[3, 1])
    resumed.load_state_dict(json.loads(json.dumps(loader.state_dict(3))))
    assert all(same(batch, loader.replay(3 + k)) for k, batch in enumerate(resumed))
    with pytest.raises(InputError, match="changes in order"):
        loader.set_weights([1, 1], 4)


def test_each_folder_has_its_own_epochs(sound_shards: Path, second: Path) -> None:
    config = replace(CONFIG, batch_size=5, steps=6)
    keys = [key for batch in StreamingShards([sound_shards, second], config, weights=[3, 2]) for key in batch.keys]
    assert set(Counter(keys).values()) == {6}


def test_epochs_end_the_stream(sound_shards: Path, second: Path) -> None:
    """Three samples twice in steps of four: the second runs into the third epoch, since steps are of one size."""
    config = replace(CONFIG, batch_size=4, steps=None, epochs=2)
    loader = StreamingShards(sound_shards, config)
    assert len(loader) == 2
    assert set(Counter(key for batch in loader for key in batch.keys).values()) == {2, 3}
    both = StreamingShards([sound_shards, second], config, weights=[3, 1])
    # The second folder's two samples twice: four of every sixteen draws.
    assert [batch.step for batch in both] == list(range(4))
    both.set_weights([1, 1], 1)
    assert sum(flag for step in range(4) for flag in both.replay(step).metric) == 7
    assert len(StreamingShards(sound_shards, replace(config, batch_size=1))) == 6
    with pytest.raises(InputError, match="weight of 0"):
        StreamingShards([sound_shards, second], config, weights=[1, 0])
    with pytest.raises(InputError, match="no steps beside"):
        replace(config, steps=3)


def test_without_steps_the_stream_has_no_end(sound_shards: Path) -> None:
    loader = StreamingShards(sound_shards, replace(CONFIG, steps=None, batch_size=1))
    seen = [batch.step for batch, _ in zip(loader, range(9), strict=False)]
    assert seen == list(range(9))
    with pytest.raises(TypeError, match="without an end"):
        len(loader)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"rank": 2, "world_size": 2}, "rank"),
        ({"rank": -1}, "rank"),
        ({"world_size": 7}, "batch size"),
        ({"weights": [1, 1]}, "weights"),
        ({"weights": [0]}, "weights"),
    ],
)
def test_wrong_options_are_one_line(options: dict, word: str, sound_shards: Path) -> None:
    with pytest.raises(InputError, match=word):
        StreamingShards(sound_shards, CONFIG, **options)
    with pytest.raises(InputError, match="weights"):
        StreamingShards([], CONFIG)


@pytest.mark.parametrize("change", [{"integrity": "some"}, {"skip_budget": -1}, {"steps": -1}, {"shuffle_window": 0}])
def test_a_wrong_config_is_one_line(change: dict) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        replace(CONFIG, **change)


def spoil(shards: Path, number: int, part: str) -> str:
    """Change a byte that no decoder notices; the key."""
    sample = open_shards(shards).samples[number]
    place = sample.part(part).offset + sample.part(part).size - 1
    with open(shards / sample.shard, "r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    return sample.key


def test_integrity_off_sampled_and_full(shards: Path) -> None:
    """The last byte of a float64 row is its sign's neighbour: the array still loads, with another number in it."""
    key = spoil(shards, 0, "intrinsics.npy")
    config = replace(CONFIG, batch_size=1, steps=None)
    off = StreamingShards(shards, replace(config, integrity="off"))
    assert key in {off.replay(step).keys[0] for step in range(3)}
    full = StreamingShards(shards, config)
    sampled = StreamingShards(shards, replace(config, integrity="sampled"))
    hit = [step for step in range(0, 20 * SAMPLED_EVERY, SAMPLED_EVERY) if off.replay(step).keys[0] == key]
    assert hit, "with this seed a checked draw meets the damaged sample"
    for loader, step in ((full, hit[0]), (sampled, hit[0])):
        with pytest.raises(CorruptShardError, match=f"{key}: expected .intrinsics.npy as it was written"):
            loader.replay(step)
    unchecked = next(step for step in range(1, SAMPLED_EVERY) if off.replay(step).keys[0] == key)
    assert sampled.replay(unchecked).keys == (key,)
    with pytest.raises(CorruptShardError):
        full.replay(unchecked)


def test_a_budget_lets_the_neighbour_stand_in(shards: Path) -> None:
    """The same batches on any rank and in any order of asking, none with the damaged sample, each naming it."""
    clean = [StreamingShards(shards, CONFIG).replay(step) for step in range(7)]
    key, other = spoil(shards, 1, "mp4"), open_shards(shards).samples[2].key
    loader = StreamingShards(shards, replace(CONFIG, skip_budget=1))
    steps = [loader.replay(step) for step in range(7)]
    assert list(loader.damaged) == [key]
    for batch, before in zip(steps, clean, strict=True):
        assert batch.keys == tuple(other if name == key else name for name in before.keys)
        assert batch.damaged == (key,) * before.keys.count(key)
    ranks = [
        list(StreamingShards(shards, replace(CONFIG, skip_budget=1), rank=rank, world_size=4)) for rank in range(4)
    ]
    assert all(same(whole(shares), steps[step]) for step, shares in enumerate(zip(*ranks, strict=True)))
    told = DataLoader(StreamingShards(shards, replace(CONFIG, skip_budget=1)), batch_size=None, num_workers=2)
    assert [batch.damaged for batch in told] == [batch.damaged for batch in steps]


def test_one_more_than_the_budget_is_an_error(shards: Path) -> None:
    spoil(shards, 1, "mp4")
    spoil(shards, 2, "mp4")
    with pytest.raises(CorruptShardError, match="other bytes"):
        [StreamingShards(shards, replace(CONFIG, skip_budget=1)).replay(step) for step in range(7)]
    spoil(shards, 0, "mp4")
    with pytest.raises(CorruptShardError, match="other bytes"):  # and a folder of nothing else ends at any budget
        StreamingShards(shards, replace(CONFIG, skip_budget=99)).replay(0)


class Attack:
    """Runs a command wherever it is unpickled."""

    def __reduce__(self) -> tuple:
        return os.mkdir, (os.environ["ATTACK_MARK"],)


def test_a_hostile_tar_is_inert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pickles under the names that plain readers unpickle, and one inside the very array that is read."""
    monkeypatch.setenv("ATTACK_MARK", str(tmp_path / "mark"))
    attack = pickle.dumps(Attack())
    buffer = io.BytesIO()
    np.save(buffer, np.array([Attack()], dtype=object), allow_pickle=True)
    listed = [(key, name, buffer.getvalue() if name == "trajectory.npy" else data) for key, name, data in members()]
    listed = [item for item in listed if item[0] == KEYS[0]]
    listed += [(KEYS[0], name, attack) for name in ("pyd", "pickle", "pkl", "pth")]
    folder = sealed(tmp_path / "shards", listed)
    loader = StreamingShards(folder, LoaderConfig(frames=1, height=8, width=8, batch_size=1))
    with pytest.raises(CorruptShardError, match=r"trajectory\.npy to be an array"):
        loader.replay(0)
    assert not (tmp_path / "mark").exists()
    pickle.loads(attack)
    assert (tmp_path / "mark").exists(), "the attack is one"


@pytest.mark.parametrize("name", ["../outside.tar", "/etc/passwd", "a/b.tar"])
def test_an_index_leads_nowhere_else(name: str, tmp_path: Path) -> None:
    """A shard's name is a plain file name that the head lists, or nothing is opened."""
    folder = sealed(tmp_path / "shards", members())
    tar, rows = (folder / "train-000000.tar").read_bytes(), open_shards(folder).samples
    vouched(folder, tar, [replace(row, shard=name) for row in rows])
    with pytest.raises(CorruptShardError, match="expected samples of the shards"):
        open_shards(folder)
    head = json.loads((folder / "shards.json").read_bytes())
    head["shards"][0]["name"] = name
    (folder / "shards.json").write_text(json.dumps(head))
    with pytest.raises(CorruptShardError, match="expected a list of shards"):
        open_shards(folder)
