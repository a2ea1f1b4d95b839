"""The corpus as one page: what came in, how it ended, what was measured, and a card per clip.

    ledger + sources -> data.py (waterfall, histograms, which cards) ─┐
    clip folders + sources' pixels -> cards.py (pictures.py, svg.py) ─┴-> page.py -> corpus/report.html

The page is a pure function of the corpus and its sources, needs no network and runs no code but its own few lines.
"""

from wmkit.annotate.report.page import write_report

__all__ = ["write_report"]
