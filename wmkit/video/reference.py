"""How a source is written in one string: a path or a URL, and perhaps a part of it.

The part is a media fragment of the W3C (www.w3.org/TR/media-frags): `walk.mp4#t=10,20`, seconds from the first frame,
half-open; `#t=10` goes on to the end, `#t=,20` begins at the start.
"""

import math
import os
import re

from wmkit.errors import InputError

__all__ = ["Span", "checked_span", "is_url", "split_reference", "with_span"]

Span = tuple[float, float | None]
"""Start and end in seconds from the source's first frame; end None is the source's end."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_NUMBER = r"\d+(?:\.\d+)?"
_FRAGMENT = re.compile(rf"#t=({_NUMBER})?(?:,({_NUMBER}))?$")


def is_url(text: str) -> bool:
    """Whether a source is a remote file; `file://` is a path written long."""
    return bool(_URL.match(text)) and not text.startswith("file://")


def split_reference(text: str) -> tuple[str, Span | None]:
    """The path or URL, and the span; a file whose own name ends like a fragment is that file, whole.

    Raises InputError for a span that ends before it starts.
    """
    text = text.removeprefix("file://")
    if "#" not in text:  # almost every one of a large corpus
        return text, None
    found = _FRAGMENT.search(text)
    if found is None or (found[1] is None and found[2] is None) or (not is_url(text) and os.path.lexists(text)):
        return text, None
    return text[: found.start()], checked_span(float(found[1] or 0), None if found[2] is None else float(found[2]))


def checked_span(start_s: float, end_s: float | None) -> Span | None:
    """The span, None for all of it; InputError unless 0 <= start < end, both finite."""
    if not (math.isfinite(start_s) and start_s >= 0) or (end_s is not None and not (start_s < end_s < math.inf)):
        raise InputError(f"span: expected 0 <= start < end in seconds, got {start_s:g} to {end_s}")
    return None if (start_s, end_s) == (0, None) else (start_s, end_s)


def with_span(text: str, span_s: Span | None) -> str:
    """The inverse of `split_reference`, to a nanosecond."""
    if span_s is None:
        return text
    start_s, end_s = span_s
    return f"{text}#t={_plain(start_s)}" + ("" if end_s is None else f",{_plain(end_s)}")


def _plain(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")
