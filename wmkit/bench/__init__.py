"""Figures beside references, peers and limits: `wmkit bench ...`.

pose.py       the annotator's cameras against references it is not shown: bench_pose
worlds.py     the pose engine on random synthetic clips of every motion family: bench_worlds
worlds_report.py  what its rows amount to
reference.py  the references: poses.json, gps.csv, orientation.csv, matched to a clip's frames
score.py      every figure of one trajectory against one reference
peer.py       pycolmap's default pipeline on the same frames; peer_process.py the process it runs in
model.py      what a model preset costs: bench_model; model_block.py times beside diffusers
scale.py      whether the scale cues' intervals hold the truth: bench_scale; scale_draws.py what they are drawn on
limits.py     the limits file and what it judges
table.py      the table for people
"""

__all__: list[str] = []
