"""Configs as JSON and back, typed settings, and the first difference."""

import json
from dataclasses import dataclass
from typing import Literal

import pytest

from tests.train_doubles import small_config
from wmkit.errors import ConfigError
from wmkit.train.config import TrainConfig
from wmkit.train.overrides import first_difference, from_plain, override, to_plain
from wmkit.train.recipes import recipe


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    on: bool = True
    sizes: tuple[int, ...] = (1, 2)
    pair: tuple[int, float] = (1, 2.0)


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    kind: Literal["a", "b"] = "a"
    name: str = "x"
    limit: int | None = None


def test_a_config_survives_json() -> None:
    config = small_config("model.camera_map=null", "optimizer.lr=0.5", "steps=7")
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert config.model.camera_map is None
    assert config.optimizer.lr == 0.5


@pytest.mark.parametrize(
    ("setting", "want"),
    [
        ("inner.rate=2", Outer(inner=Inner(rate=2.0))),
        ("inner.rate=1e-3", Outer(inner=Inner(rate=0.001))),
        ("inner.on=false", Outer(inner=Inner(on=False))),
        ("inner.sizes=[3]", Outer(inner=Inner(sizes=(3,)))),
        ("inner.sizes=3,4", Outer(inner=Inner(sizes=(3, 4)))),
        ("inner.pair=3,4", Outer(inner=Inner(pair=(3, 4.0)))),
        ("kind=b", Outer(kind="b")),
        ("name=12", Outer(name="12")),
        ("name=a=b", Outer(name="a=b")),
        ("limit=3", Outer(limit=3)),
        ("limit=null", Outer()),
        ("limit=none", Outer()),
    ],
)
def test_a_setting_gets_the_type_of_its_field(setting: str, want: Outer) -> None:
    got = override(Outer(), [setting])
    assert got == want
    assert type(got.inner.rate) is float


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("inner.rate", "key=value"),
        ("=3", "key=value"),
        ("inner.rat=1", "did you mean 'rate'"),
        ("outer=1", "expected one of inner, kind"),
        ("name.length=1", "no setting 'length'"),
        ("inner=1", "group: inner.rate, inner.on"),
        ("inner.rate=fast", "expected float"),
        ("inner.rate=NaN", "expected float"),
        ("inner.rate=true", "expected float"),
        ("inner.on=1", "expected bool"),
        ("inner.sizes=1,2.5", "sizes[1]: expected int"),
        ("inner.pair=1", "expected 2 values"),
        ("kind=c", "expected one of a, b"),
        ("limit=2.5", "expected int"),
    ],
)
def test_a_bad_setting_is_named(setting: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        override(Outer(), [setting])
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ("model.widht=3", "did you mean 'width'"),
        ("model.width=wide", "--set model.width: expected int"),
        ("model.width=12", "multiple of 8"),
        ("data.frames=6", "1 + 2 k"),
        ("data.width=25", "multiples of 4"),
        ("data.batch_size=0", "data.batch_size: expected a positive"),
        ("model.latent_downscale=8", "latent_channels: expected 384"),
        ("steps=0", "steps: expected a positive"),
        ("seed=-1", "seed: expected"),
        ("optimizer.beta1=1", "beta1"),
        ("objective.shift=0", "objective.shift"),
    ],
)
def test_a_setting_that_makes_no_run_is_named(setting: str, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        small_config(setting)
    assert word in str(caught.value)


def test_what_is_read_must_be_whole() -> None:
    plain = to_plain(Outer())
    del plain["inner"]["on"]
    with pytest.raises(ConfigError, match="'on'"):
        from_plain(Outer, plain)
    with pytest.raises(ConfigError, match="unknown setting 'more'"):
        from_plain(Outer, {**to_plain(Outer()), "more": 1})
    with pytest.raises(ConfigError, match="an object"):
        from_plain(Outer, [1])


def test_the_first_difference_is_by_order_of_the_asked() -> None:
    asked = to_plain(Outer())
    assert first_difference(asked, asked) is None
    stored = {**asked, "name": "y", "inner": {**asked["inner"], "on": False}}
    assert first_difference(stored, asked) == ("inner.on", False, True)
    assert first_difference(stored, asked, frozenset({"inner.on"})) == ("name", "y", "x")
    assert first_difference({**asked, "old": 1}, asked) == ("old", 1, None)


def test_a_group_that_may_be_absent() -> None:
    config = recipe("tiny-cpu-ode").with_settings(["distill.teacher_steps=8"])
    assert config.distill is not None
    assert config.distill.teacher_steps == 8
    assert config.with_settings(["distill=null"]).distill is None
    with pytest.raises(ConfigError, match="has no distill; give it whole"):
        recipe("tiny-cpu").with_settings(["distill.teacher_steps=8"])
