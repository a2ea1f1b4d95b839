"""A video judged by annotating it again: `wmkit eval`.

video.py   `eval_video`: one video against the trajectory that was asked for
report.py  the result as figures, JSON, lines for people and exit code
"""

__all__: list[str] = []
