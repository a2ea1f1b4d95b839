"""Models of other makers that ours works with: where they lie, under which licence; nothing is fetched unasked.

A component is a folder as Hugging Face libraries write it, or, where a download is asked for and only there, the name
of a repository. Its licence is that of the folder's model card where there is one; the
table's otherwise, which says what the makers published in 2026 and may be out of date.
"""

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from wmkit.errors import InputError

__all__ = [
    "KNOWN_LICENCES",
    "Component",
    "VaeKind",
    "check_source",
    "licence_of",
    "load_components",
    "missing_component",
    "missing_package",
    "write_components",
]

VaeKind = Literal["ltx2", "wan", "dc-ae"]
KNOWN_LICENCES: dict[str, str] = {
    "ltx2": "LTX-2 Community License (revenue limit, use restrictions, covers models trained on its outputs)",
    "wan": "Apache-2.0",
    "dc-ae": "not known here: read the model card of the weights",
    "gemma-2": "Gemma Terms of Use (use restrictions flow down)",
    "ltx2-refiner": "LTX-2 Community License and, for its text encoder, Gemma Terms of Use (restrictions flow down)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One loaded component: `kind` as wmkit calls it, `source` as it was named, `licence` and where that stands."""

    kind: str
    source: str
    licence: str
    licence_from: str

    def to_json(self) -> dict[str, str]:
        """Plain JSON values."""
        return asdict(self)

    def line(self) -> str:
        """For people."""
        return f"{self.kind}: {self.source}, licence {self.licence} (from {self.licence_from})"


def licence_of(kind: str, source: str) -> Component:
    """The component at `source` with its licence, by its model card's `license:` or the table above."""
    card = Path(source) / "README.md"
    if card.is_file():
        head = re.match(r"---\n(.*?)\n---", card.read_text(encoding="utf-8", errors="replace"), re.DOTALL)
        found = re.search(r"^license(?:_name)?:\s*(\S.*)$", head[1], re.MULTILINE) if head else None
        if found:
            return Component(kind=kind, source=source, licence=found[1].strip().strip("\"'"), licence_from="model card")
    return Component(
        kind=kind, source=source, licence=KNOWN_LICENCES.get(kind, "not known here"), licence_from="wmkit's table"
    )


def check_source(kind: str, source: str, download: bool) -> None:
    """Raise InputError unless `source` is a folder, or a download is allowed."""
    if not download and not Path(source).is_dir():
        raise missing_component(kind, source, "no such folder")


def missing_component(kind: str, source: str, reason: str) -> InputError:
    """The one line for a component that is not on this machine."""
    return InputError(
        f"{kind}: expected {source} to be a folder of its weights, got: {' '.join(reason.split())[:200]}; name a "
        "folder, or fetch one with wmkit components --download"
    )


def missing_package(kind: str, package: str, error: ImportError) -> InputError:
    """The one line for a library that is not on this machine, or cannot be imported there."""
    reason = " ".join(str(error).split())[:200]
    return InputError(f"{kind}: expected the package {package}, got: {reason}; run: pip install 'wmkit[models]'")


def write_components(path: Path, components: Iterable[Component], note: Callable[[str], None] | None = None) -> None:
    """Store what was used and its licences as a JSON list, and tell `note` each; InputError when it cannot be."""
    rows = list(components)
    if note is not None:
        for row in rows:
            note(row.line())
    try:
        path.write_text(json.dumps([row.to_json() for row in rows], indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: expected to write there, got: {error.strerror}") from error


def load_components(
    vae: str | None, vae_kind: VaeKind, text: str | None, out: Path, *, download: bool = False
) -> list[Component]:
    """Load what is named, so that it is known to load, and store its licences in `out`.

    Raises InputError when nothing is named or something is not on this machine and `download` is off.
    """
    from wmkit.model.gemma import load_gemma
    from wmkit.model.vae import load_vae

    if vae is None and text is None:
        raise InputError("components: expected --vae or --text, got neither")
    found = []
    if vae is not None:
        found.append(load_vae(vae_kind, vae, download=download).component)
    if text is not None:
        found.append(load_gemma(text, download=download).component)
    write_components(out, found)
    return found
