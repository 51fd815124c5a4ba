"""Quantiles of Student's t, for confidence intervals of means. It talks to nobody."""

import functools
import math
from statistics import NormalDist
from typing import Final

CONFIDENCE: Final = 0.95
STEPS_MAX: Final = 100


@functools.lru_cache(10_000)
def two_sided(freedom: int) -> float:
    """The t that a value of Student's distribution with `freedom` degrees exceeds in size with probability 5 %.

    The probability is the finite sum that it is for whole degrees of freedom: Abramowitz and Stegun, Handbook of
    Mathematical Functions, 26.7.3 and 26.7.4. Newton's method inverts it: the density falls, so that no step from below
    goes too far.
    """
    t = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)  # of infinitely many degrees, less than of any
    for _ in range(STEPS_MAX):
        farther = t + (CONFIDENCE - _within(t, freedom)) / (2 * _density(t, freedom))
        if farther <= t:
            break
        t = farther
    return t


def _density(t: float, freedom: int) -> float:
    """The density at `t`."""
    scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)
    return scale * math.exp(-(freedom + 1) / 2 * math.log1p(t * t / freedom))


def _within(t: float, freedom: int) -> float:
    """The probability that a value is at most `t` in size."""
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    is_odd = freedom % 2
    term = cosine if is_odd else 1.0
    total = term if freedom > 1 else 0.0
    for number in range(2 + is_odd, freedom - 1, 2):
        term *= cosine * cosine * (number - 1) / number
        total += term
    return 2 / math.pi * (angle + sine * total) if is_odd else sine * total
