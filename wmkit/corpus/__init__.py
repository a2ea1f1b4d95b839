"""The corpus folder: what `wmkit annotate` writes and everything else reads (pyarrow, json and numpy suffice)."""

from wmkit.corpus.ledger import LedgerRow, SourceRow, Status, config_hash_of_clip
from wmkit.corpus.store import SCHEMA_VERSION, Corpus, DeadLetter

__all__ = ["SCHEMA_VERSION", "Corpus", "DeadLetter", "LedgerRow", "SourceRow", "Status", "config_hash_of_clip"]
