"""Errors that end a run in one sentence."""


class NonFiniteError(ArithmeticError):
    """A loss, a gradient or what a network gives is NaN or infinite; says what. Nothing was changed by it."""


class BadValueError(NonFiniteError):
    """An environment gave what nothing can be learned from: outside its space, no picture, a reward beyond float32."""
