"""Training: flow matching on shards, deterministic from its seed, stopped and resumed without a trace.

`wmkit.train.loop` needs torch, numpy, safetensors and jaxtyping alone; `wmkit.train.run` is the verb around it.
"""

__all__: list[str] = []
