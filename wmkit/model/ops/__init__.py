"""Operators of the model, each with a readable slow twin that its tests compare it with."""

__all__: list[str] = []
