"""The models that a sample is made by, loaded once for as many samples as are asked of them."""

from dataclasses import dataclass
from pathlib import Path

from wmkit.model.dit import CameraDiT
from wmkit.model.latent import LatentCodec
from wmkit.model.refiner import Refiner
from wmkit.model.text import TextEncoder
from wmkit.sample.identity import Digests, weight_digests
from wmkit.sample.options import SampleOptions
from wmkit.sample.refine import load_refiner
from wmkit.train.checkpoint import DataFacts, find_checkpoint, load_model, read_state
from wmkit.train.config import TrainConfig

__all__ = ["Parts", "load_parts"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """A checkpoint's model with its config and what it was trained on, and what works beside it.

    text, refiner  None where there is none.
    digests        sha256 of what was loaded, by name; see `weight_digests`.
    """

    checkpoint: Path
    model: CameraDiT
    config: TrainConfig
    facts: DataFacts
    codec: LatentCodec
    text: TextEncoder | None
    refiner: Refiner | None
    digests: Digests


def load_parts(options: SampleOptions) -> Parts:
    """What `options` name. Raises as `load_model` and `load_refiner` do, InputError for text that is not read."""
    checkpoint = find_checkpoint(options.checkpoint)
    model, config = load_model(checkpoint)
    codec = config.codec
    return Parts(
        checkpoint=checkpoint,
        model=model,
        config=config,
        facts=read_state(checkpoint).data,
        codec=codec,
        text=config.text_encoder,
        refiner=None if options.refiner is None else load_refiner(options.refiner, codec.spec()),
        digests=weight_digests(options),
    )
