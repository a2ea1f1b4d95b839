"""Captioners: what a clip shows, in words that leave the motion to the cameras."""

from wmkit.annotate.captions.endpoint import EndpointCaptionConfig
from wmkit.annotate.captions.flags import captions_of_flags
from wmkit.annotate.captions.local_vlm import LocalVlmConfig
from wmkit.annotate.captions.sidecar import SidecarCaptionConfig

__all__ = ["CaptionUnion", "EndpointCaptionConfig", "LocalVlmConfig", "SidecarCaptionConfig", "captions_of_flags"]

CaptionUnion = SidecarCaptionConfig | EndpointCaptionConfig | LocalVlmConfig
