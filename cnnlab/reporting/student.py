"""Student's t distribution: tail probabilities and quantiles, without scipy, which takes long to import."""

from math import exp, inf, lgamma, log, log1p

PRECISION = 1e-15
TINY = 1e-300


def t_tail(t: float, freedom: float) -> float:
    """Return the probability that |T| is at least |t|, with `freedom` degrees of freedom."""
    square = t * t
    return incomplete_beta(freedom / (freedom + square), square / (freedom + square), freedom / 2, 0.5)


def t_quantile(p: float, freedom: float) -> float:
    """Return the t at which the two-sided tail probability is `p`, which is between 0 and 1."""
    low, high = 0.0, 1.0
    while t_tail(high, freedom) > p:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        if t_tail(middle, freedom) > p:
            low = middle
        else:
            high = middle
    return high


def incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b), by Lentz's method on its continued fraction.

    Args:
        x: from 0 to 1.
        rest: 1 - x, passed separately since the subtraction loses digits where x is nearly 1.
        a, b: above 0.
    """
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # the other side's fraction converges faster
        return 1 - incomplete_beta(rest, x, b, a)
    c, d = 1.0, 1 / _away_from_0(1 - (a + b) * x / (a + 1))
    fraction, change, m = d, inf, 1
    while abs(change - 1) > PRECISION and m < 10_000:
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_0(1 + term * d)
            c = _away_from_0(1 + term / c)
            fraction *= c * d
            change = c * d
        m += 1
    front = lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * (log(rest) if rest < 0.5 else log1p(-x))
    return exp(front) * fraction / a


def _away_from_0(value: float) -> float:
    return value if abs(value) > TINY else TINY
