"""How honest the shipped p_good was on cases its calibration had not seen: a file beside the calibration's.

It is no part of the calibration: p_good does not depend on it, and so neither does the hash in a corpus' config. It
names the calibration that it speaks of, and speaks of no other.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from wmkit.annotate.confidence.reliability import Bin, rate
from wmkit.errors import ConfigError, InputError

__all__ = ["SHIPPED_HELD_OUT", "HeldOut", "read_held_out"]

SHIPPED_HELD_OUT = Path(__file__).with_name("p_good_held_out.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Reliability on `cases` held-out cases: the bins, and the calibration error with its 95 % interval."""

    cases: int
    error: float
    low: float
    high: float
    bins: tuple[Bin, ...]


def read_held_out(calibration: str, path: Path = SHIPPED_HELD_OUT) -> HeldOut | None:
    """The held-out reliability of the calibration whose file has this sha256; None when there is none of it.

    Raises ConfigError when the file is damaged.
    """
    try:
        record = json.loads(path.read_bytes())
        if record["calibration"] != calibration:
            return None
        bins = tuple(
            Bin(
                low=float(item["low"]),
                high=float(item["high"]),
                mean=float(item["mean"]),
                observed=rate(item["observed"]["hits"], item["observed"]["total"]),
            )
            for item in record["bins"]
        )
        low, high = record["ece_interval"]
        return HeldOut(cases=int(record["cases"]), error=float(record["ece"]), low=low, high=high, bins=bins)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, InputError) as error:
        raise ConfigError(
            f"{path}: expected held-out reliability, got {type(error).__name__}: {error}; "
            "write it again with benchmarks/calibrate_p_good.py"
        ) from None
