"""Released weights in and out: NVlabs' file, diffusers' folder and ours, tensor for tensor, with a strict report.

    nvlabs     dit/*.safetensors of the public SANA-WM release: `t_embedder.mlp.0` and `.2`, `pos_embed` beside them
    diffusers  transformer/ of `SanaWMTransformer3DModel` (diffusers 0.42.1): `t_embedder.linear_1` and `.linear_2`
    wmkit      the names of diffusers in model.safetensors, and config.json with the model's own config

All other names are the same in the three. `pos_embed` is a table that the released forward pass does not read;
`y_embedder.y_embedding` is the null caption, kept where the config owns one. Facts: `sana-wm.md` 2, the public
`scripts/convert_sana_wm_to_diffusers.py`. Nothing is unpickled.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from wmkit.atomic import put_in_place, write_atomic
from wmkit.errors import ConfigError, InputError
from wmkit.json_object import read_json
from wmkit.model.camera_branches import PluckerConfig, UcpeConfig
from wmkit.model.config import ModelConfig, TextConfig
from wmkit.model.dit import CameraDiT
from wmkit.model.weights_files import TensorSpec, WeightsSource, write_shards

__all__ = ["LAYOUTS", "Conversion", "KeyReport", "Layout", "convert", "diffusers_config", "from_diffusers_config",
           "key_report", "load_released"]  # fmt: skip

Layout = Literal["nvlabs", "diffusers", "wmkit"]
LAYOUTS: tuple[Layout, ...] = ("nvlabs", "diffusers", "wmkit")
STEMS: dict[Layout, str] = {
    "nvlabs": "sana_wm",
    "diffusers": "diffusion_pytorch_model",
    "wmkit": "model",
}
TO_NVLABS = {"t_embedder.linear_1.": "t_embedder.mlp.0.", "t_embedder.linear_2.": "t_embedder.mlp.2."}
UNREAD = {"pos_embed": "a table of positions that the model does not read",
          "y_embedder.y_embedding": "the null caption; set text.null_caption to keep it"}  # fmt: skip
FLOATS = ("BF16", "F16", "F32", "F64")
DIFFUSERS_CLASS = "SanaWMTransformer3DModel"
# What our architecture is; a diffusers config that says otherwise is another one.
DIFFUSERS_FIXED: dict[str, object] = {
    "patch_size": [1, 1, 1],
    "ffn_type": "GLUMBConvTemp",
    "t_kernel_size": 3,
    "k_conv_only": True,
    "pos_embed_type": "wan_rope",
    "qk_norm": True,
    "cross_norm": True,
    "y_norm": True,
    "cam_attn_compress": 1,
    "use_chunk_plucker_post_attn": True,
    "use_pe": True,
    "learn_sigma": False,
    "pred_sigma": False,
    "mlp_acts": ["silu", "silu", None],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReport:
    """How a checkpoint's tensors compare with a model's: one text a difference, sorted; `unread` is no fault.

    `wrong_type`: integers and quantised floats, which are no parameters without what turns them into such.
    """

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    wrong_shape: tuple[str, ...]
    wrong_type: tuple[str, ...]
    unread: tuple[str, ...]
    tensors: int
    values: int

    @property
    def fits(self) -> bool:
        """Whether every tensor of the model is there in its shape, of floats, and nothing else is."""
        return not (self.missing or self.unexpected or self.wrong_shape or self.wrong_type)

    def counts(self) -> str:
        """As `2 missing, 0 unexpected, 1 of wrong shape`."""
        shape, kind = len(self.wrong_shape), len(self.wrong_type)
        counts = f"{len(self.missing)} missing, {len(self.unexpected)} unexpected, {shape} of wrong shape"
        return counts + (f", {kind} of wrong type" if kind else "")

    def lines(self) -> list[str]:
        """One line a difference, each with what to think of it."""
        return [
            *(f"missing: {text}" for text in self.missing),
            *(f"unexpected: {text}" for text in self.unexpected),
            *(f"wrong shape: {text}" for text in self.wrong_shape),
            *(f"wrong type: {text}" for text in self.wrong_type),
            *(f"left out: {text}" for text in self.unread),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """What `convert` did; no files where the report says that the weights do not fit."""

    source: Path
    found: Layout
    to: Layout
    files: tuple[Path, ...]
    report: KeyReport

    def to_json(self) -> dict[str, object]:
        """Plain JSON values; the keys are frozen by a test."""
        return {
            "source": str(self.source),
            "found": self.found,
            "to": self.to,
            "files": [str(file) for file in self.files],
            "tensors": self.report.tensors,
            "values": self.report.values,
            "missing": list(self.report.missing),
            "unexpected": list(self.report.unexpected),
            "wrong_shape": list(self.report.wrong_shape),
            "wrong_type": list(self.report.wrong_type),
            "left_out": list(self.report.unread),
        }

    @property
    def exit_code(self) -> int:
        """0 written, 1 the weights do not fit."""
        return 0 if self.files else 1

    def lines(self) -> list[str]:
        """For people: a line a difference; the last one names the first file written, or says why there is none."""
        report = self.report
        if not self.files:
            return [*report.lines(), f"nothing written: {report.counts()}; is the preset that of the weights?"]
        counts = f"{report.tensors} tensors, {report.values:,} values"
        return [*report.lines(), f"{counts}: {self.found} -> {self.to}", f"written: {self.files[0]}"]


def convert(
    source: Path, out: Path, to: Layout, config: ModelConfig | None = None, shard_bytes: int | float = 5e9
) -> Conversion:
    """Write the checkpoint at `source` into the folder `out` in another layout, bit for bit.

    `config` None: that of the config.json beside the weights, else InputError. Nothing is written unless every tensor
    fits; `out` appears by one rename, whole or not at all. Raises InputError for a source that is none and for an
    `out` that exists or cannot be written; ConfigError for a config that `to` cannot say and a shard of no bytes.
    """
    from safetensors import SafetensorError

    if out.exists():
        raise InputError(f"{out}: expected a folder that does not exist yet; name another, or remove it")
    opened = _open(source, config)
    plain = _config_json(opened.config, to)
    done = Conversion(source=source, found=opened.found, to=to, files=(), report=opened.report)
    if not opened.report.fits:
        return done
    scratch = out.with_name(f".{out.name}.tmp")
    if scratch.exists():  # of a conversion that was killed
        shutil.rmtree(scratch)
    try:
        scratch.mkdir(parents=True)
        tensors = ((_name_in(name, to), tensor) for name, tensor in opened.tensors())
        files = write_shards(tensors, scratch, STEMS[to], shard_bytes)
        if plain is not None:
            write_atomic(scratch / "config.json", (json.dumps(plain, indent=2) + "\n").encode())
        put_in_place(scratch, out)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{out}: expected to write there, got: {getattr(error, 'strerror', None) or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return replace(done, files=tuple(out / file.name for file in files))


def load_released(source: Path, config: ModelConfig | None = None) -> CameraDiT:
    """A model with the weights at `source`, of any layout, in evaluation mode; raises as `convert` does.

    Every tensor keeps the type it is stored in. Weights that do not fit the config are an InputError.
    """
    opened = _open(source, config)
    if not opened.report.fits:
        first = "; ".join(opened.report.lines()[:3])
        raise InputError(f"{source}: expected the config's tensors, got {opened.report.counts()}: {first}")
    with torch.device("meta"):
        model = CameraDiT(opened.config)
    model.load_state_dict(dict(opened.tensors()), assign=True)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith("raymap_embedder."))
    return model.eval()


def key_report(stored: Mapping[str, TensorSpec], config: ModelConfig, unread: tuple[str, ...] = ()) -> KeyReport:
    """Compare stored tensors, by our names, with those of the config's model; builds it on the meta device."""
    with torch.device("meta"):
        own = {name: tuple(tensor.shape) for name, tensor in CameraDiT(config).state_dict().items()}
    shared = sorted(set(own) & set(stored))
    return KeyReport(
        missing=tuple(f"{name} {own[name]}" for name in sorted(set(own) - set(stored))),
        unexpected=tuple(f"{name} {stored[name].shape}" for name in sorted(set(stored) - set(own))),
        wrong_shape=tuple(
            f"{name}: expected {own[name]}, got {stored[name].shape}"
            for name in shared
            if own[name] != stored[name].shape
        ),
        wrong_type=tuple(
            f"{name}: expected {', '.join(FLOATS)}, got {stored[name].dtype}"
            for name in shared
            if stored[name].dtype not in FLOATS
        ),
        unread=unread,
        tensors=len(stored),
        values=sum(spec.values for spec in stored.values()),
    )


def diffusers_config(config: ModelConfig) -> dict[str, Any]:
    """config.json of the same model as `SanaWMTransformer3DModel`; ConfigError where that class has no such model."""
    text = None if config.text is None else TextConfig(channels=config.text.channels)
    if config.text is not None and config.text.null_caption:
        text = None
    same = replace(config, camera_renorm="none", latent_downscale=32, text=text)
    if from_diffusers_config(_diffusers_values(config)) != same:
        raise ConfigError(
            'diffusers: expected text, UCPE and Plücker, frame-gdn, velocity, compat "sana-wm" and no null caption; '
            "its class has no other model"
        )
    return _diffusers_values(config)


def from_diffusers_config(plain: Mapping[str, Any]) -> ModelConfig:
    """Our config of a diffusers config.json. ConfigError when it is another class or another architecture."""
    kind = plain.get("_class_name", DIFFUSERS_CLASS)
    if kind != DIFFUSERS_CLASS:
        raise ConfigError(f"config.json: expected {DIFFUSERS_CLASS}, got {kind}; name the transformer folder")
    for key, value in DIFFUSERS_FIXED.items():
        got = plain.get(key, value)
        if (list(got) if isinstance(got, tuple) else got) != value:
            raise ConfigError(f"config.json: expected {key} {value}, got {got}; this is another architecture")
    width, head = _whole(plain, "hidden_size", 2240), _whole(plain, "linear_head_dim", 112)
    heads = _whole(plain, "num_attention_heads", 20)
    if heads * head != width:
        raise ConfigError(f"config.json: expected {heads} heads of hidden_size / heads, got {head} of {width}")
    depth, rays = _whole(plain, "num_layers", 20), _whole(plain, "chunk_plucker_channels", 48)
    if rays % 6:
        raise ConfigError(f"config.json: expected chunk_plucker_channels of 6 a video frame, got {rays}")
    if plain.get("chunk_plucker_post_attn_blocks", 20) not in (-1, depth):
        raise ConfigError("config.json: expected Plücker mixing in every block, got fewer")
    return ModelConfig(
        latent_channels=plain.get("in_channels", 128),
        latent_stride=rays // 6,
        latent_downscale=32,
        width=width,
        depth=depth,
        heads=heads,
        softmax_every=plain.get("softmax_every_n", 4),
        mlp_ratio=plain.get("mlp_ratio", 3.0),
        conv_kernel=plain.get("conv_kernel_size", 4),
        camera_attention=UcpeConfig(),
        camera_map=PluckerConfig(),
        text=TextConfig(channels=plain.get("caption_channels", 2304)),
        compat="sana-wm",
        prediction="velocity",
    )


def _whole(plain: Mapping[str, Any], key: str, default: int) -> int:
    value = plain.get(key, default)
    if type(value) is not int:
        raise ConfigError(f"config.json: expected {key} to be a whole number, got {value!r}; is the file damaged?")
    return value


def _diffusers_values(config: ModelConfig) -> dict[str, Any]:
    text = config.text or TextConfig()
    return {
        "_class_name": DIFFUSERS_CLASS,
        **DIFFUSERS_FIXED,
        "in_channels": config.latent_channels,
        "num_layers": config.depth,
        "hidden_size": config.width,
        "num_attention_heads": config.heads,
        "softmax_every_n": config.softmax_every,
        "linear_head_dim": config.head_dim,
        "conv_kernel_size": config.conv_kernel,
        "chunk_plucker_channels": 6 * config.latent_stride,
        "chunk_plucker_post_attn_blocks": config.depth,
        "caption_channels": text.channels,
        "mlp_ratio": config.mlp_ratio,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Opened:
    """A source held against a config: `stored` by our names, `found` the layout it has."""

    weights: WeightsSource
    found: Layout
    config: ModelConfig
    stored: Mapping[str, TensorSpec]
    report: KeyReport

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor under our name, read one at a time."""
        for name in self.stored:
            yield name, self.weights.tensor(_name_in(name, self.found))


def _open(source: Path, config: ModelConfig | None) -> _Opened:
    weights = WeightsSource.open(source)
    found = _layout_of(weights)
    config = _config_beside(weights.folder) if config is None else config
    stored, unread = _our_names(weights.specs, found, config)
    report = key_report(stored, config, unread)
    return _Opened(weights=weights, found=found, config=config, stored=stored, report=report)


def _config_json(config: ModelConfig, to: Layout) -> dict[str, Any] | None:
    if to == "nvlabs":
        return None
    return diffusers_config(config) if to == "diffusers" else {"model": config.to_dict()}


def _layout_of(weights: WeightsSource) -> Layout:
    if any(name.startswith("t_embedder.mlp.") for name in weights.specs):
        return "nvlabs"
    config = weights.folder / "config.json"
    return "wmkit" if config.is_file() and "model" in read_json(config) else "diffusers"


def _config_beside(folder: Path) -> ModelConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder}: expected a config.json beside the weights, found none; name a preset, --preset")
    plain = read_json(path)
    model = plain.get("model")
    return ModelConfig.from_dict(model) if isinstance(model, dict) else from_diffusers_config(plain)


def _our_names(
    specs: Mapping[str, TensorSpec], found: Layout, config: ModelConfig
) -> tuple[dict[str, TensorSpec], tuple[str, ...]]:
    """Specs under our names, and what is left out of them on purpose."""
    keep_null = config.text is not None and config.text.null_caption
    stored, unread = {}, []
    for name, spec in specs.items():
        if name in UNREAD and not (keep_null and name == "y_embedder.y_embedding"):
            unread.append(f"{name} {spec.shape}: {UNREAD[name]}")
        else:
            stored[_from(name, found)] = spec
    return stored, tuple(unread)


def _name_in(name: str, layout: Layout) -> str:
    """Our name as `layout` has it."""
    return _replaced(name, TO_NVLABS) if layout == "nvlabs" else name


def _from(name: str, layout: Layout) -> str:
    return _replaced(name, {new: old for old, new in TO_NVLABS.items()}) if layout == "nvlabs" else name


def _replaced(name: str, prefixes: Mapping[str, str]) -> str:
    for old, new in prefixes.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
