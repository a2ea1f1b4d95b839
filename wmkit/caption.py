"""What a clip shows, in words."""

from dataclasses import dataclass

from wmkit.errors import InputError

__all__ = ["MAX_CHARACTERS", "Caption"]

MAX_CHARACTERS = 8000


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """A text on one line, and where it is from: the sidecar's name or the model's.

    Raises InputError for a text that is empty, longer than 8000 characters or of several lines.
    """

    text: str
    source: str

    def __post_init__(self) -> None:
        if self.text != " ".join(self.text.split()) or not 0 < len(self.text) <= MAX_CHARACTERS:
            raise InputError(f"caption: expected one line of 1 to {MAX_CHARACTERS} characters, got {len(self.text)}")

    @classmethod
    def of(cls, text: str, source: str) -> "Caption":
        """A caption of any text: runs of white space, line breaks among them, become one space."""
        return cls(text=" ".join(text.split()), source=source)
