"""What `--captions` and `--caption-model` ask for."""

from pathlib import Path

from wmkit.annotate.captions.endpoint import EndpointCaptionConfig
from wmkit.annotate.captions.local_vlm import LocalVlmConfig, named_vlm
from wmkit.annotate.captions.sidecar import SidecarCaptionConfig, named_captions
from wmkit.errors import InputError

__all__ = ["captions_of_flags"]


def captions_of_flags(
    captions: str, model: str | None
) -> SidecarCaptionConfig | EndpointCaptionConfig | LocalVlmConfig | None:
    """`none`, `auto`, a json file, a model's folder, or the URL of an endpoint with its model.

    InputError when they do not fit.
    """
    if "://" in captions:
        return EndpointCaptionConfig(url=captions, model=model or "")
    if model is not None:
        raise InputError(f"--caption-model: expected --captions URL beside it, got --captions {captions}")
    if captions == "none":
        return None
    if Path(captions).is_dir():
        return named_vlm(Path(captions))
    return SidecarCaptionConfig() if captions == "auto" else named_captions(Path(captions))
