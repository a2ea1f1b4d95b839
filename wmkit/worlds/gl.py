"""The OpenGL renderer (EGL)."""

__all__ = ["gl_problem"]


def gl_problem() -> str | None:
    """Why OpenGL cannot be used here, or None."""
    return "not ready"
