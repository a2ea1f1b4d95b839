"""The errors wmkit raises on purpose.

::

    WmkitError                      everything below; the CLI prints its one line and exits
    ├── InputError                  the user's file or flag is wrong                    exit 2
    ├── ConfigError                 a config or schema does not fit what is on disk     exit 2
    ├── ClipError(stage, code)      one clip could not be used: recorded, the run goes on
    ├── FetchError                  a download failed                                   exit 1
    ├── WorkersLostError            what runs the workers died under a run              exit 1
    ├── DiskFullError               no room under a run, which no clip is to blame for  exit 1
    └── CorruptShardError           a shard's bytes are not what its index says         exit 1

Anything else that escapes is a bug and stops the run. A message says what was expected, what came and what to
do about it, in one line.
"""

__all__ = [
    "ClipError",
    "ConfigError",
    "CorruptShardError",
    "DiskFullError",
    "FetchError",
    "InputError",
    "WmkitError",
    "WorkersLostError",
]


class WmkitError(Exception):
    """Root of every error raised on purpose; `exit_code` is what the command line ends with."""

    exit_code = 2


class InputError(WmkitError):
    """A file or flag the user gave cannot be used: missing, unreadable, unwritable or out of range."""


class ConfigError(WmkitError):
    """A config, schema version or checkpoint does not match the one it is used with."""


class CorruptShardError(WmkitError):
    """A shard's bytes differ from what its index promises."""

    exit_code = 1


class FetchError(WmkitError):
    """A download ran and failed: no network, a refusing server, other bytes than were promised."""

    exit_code = 1


class WorkersLostError(WmkitError):
    """What starts and watches all workers is gone: the run ends, and the same command goes on where it stands."""

    exit_code = 1


class DiskFullError(WmkitError):
    """The disk has no room: the run ends before every clip fails for it, and the same command goes on."""

    exit_code = 1


class ClipError(WmkitError):
    """One clip cannot be annotated; the executor records it as a dead letter and goes on.

    `stage` is where it ended (`decode`, `pose`, `depth`, ...), `code` a stable snake_case word to count by
    (`no_video_stream`, `timeout`, `worker_crash`, ...).
    """

    exit_code = 1

    def __init__(self, stage: str, code: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["ClipError"], tuple[str, str, str]]:
        return type(self), (self.stage, self.code, self.message)  # survives the trip between processes

    def __str__(self) -> str:
        return f"{self.stage}/{self.code}: {self.message}"
