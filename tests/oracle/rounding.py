"""Weights rounded to formats of few bits, in numpy: docs/quantization.md's `nearest` and `hqq`.

Written from the description of the methods, without pare's code. Every operation
is one of f32 in the order of pare's, so that codes and scales can be compared bit
for bit. Matrices are [outputs, inputs], groups along inputs.
"""

from dataclasses import dataclass

import numpy as np

F32 = np.float32
STEPS = 16


@dataclass(frozen=True)
class Format:
    """Integers of `bits` bits times an f16 scale per group. With `has_zero` they
    are unsigned, less a zero point per group; else symmetric."""

    bits: int
    group: int = 32
    has_zero: bool = False

    @property
    def low(self):
        # 8 bits leave out the lowest code, as integer kernels do.
        return 0 if self.has_zero else -(1 << (self.bits - 1)) + (self.bits == 8)

    @property
    def high(self):
        return self.low + (1 << self.bits) - 1 - (self.bits == 8)


INT4, INT8, UINT4 = Format(4), Format(8), Format(4, has_zero=True)


class Groups:
    """Scales and zero points of all groups, under which codes are chosen."""

    def __init__(self, format, scale, zero=F32(0)):
        self.format, self.scale, self.zero = format, scale, zero
        with np.errstate(divide="ignore"):
            self.inverse = np.where(np.abs(scale) > F32(1e-37), F32(1) / scale, F32(0))

    def round(self, weights):
        """The nearest level of each weight, ties to even."""
        levels = weights * self.inverse + self.zero
        return np.rint(np.clip(levels, F32(self.format.low), F32(self.format.high)))

    def decode(self, levels):
        return self.scale * (levels - self.zero)


def sum_up(terms):
    """Sums over a group, in order."""
    total = np.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def to_f16(values):
    return values.astype(np.float16).astype(F32)


def clip_factors(format):
    """Shares of the largest weight that scales are tried for."""
    count = format.high - format.low
    least = F32(0.3 if count < 8 else 0.5 if count < 32 else 0.75)
    return [F32(1.05) + (least - F32(1.05)) * F32(i) / F32(STEPS - 1) for i in range(STEPS)]


def search(format, columns, starts, is_signed):
    """Of the scales and zero points `starts`, each then fitted by least squares,
    the one with the least squared error."""
    best = error = None
    for scale, zero in starts:
        groups = Groups(format, scale, zero)
        levels = [groups.round(w) - groups.zero for w in columns]
        quw = sum_up([u * w for u, w in zip(levels, columns)])
        quu = sum_up([u * u for u in levels])
        fits = (quu > 0) & (is_signed | (quw > 0))
        scale = to_f16(np.where(fits, quw / np.where(quu > 0, quu, F32(1)), scale))
        groups = Groups(format, scale, zero)
        deltas = [w - groups.decode(groups.round(w)) for w in columns]
        squares = sum_up([d * d for d in deltas])
        if best is None:
            best, error = (scale, np.broadcast_to(zero, scale.shape)), squares
            continue
        better = squares < error
        best = tuple(np.where(better, new, old) for new, old in zip((scale, zero), best))
        error = np.where(better, squares, error)
    return Groups(format, *best)


def fit_symmetric(format, columns):
    above = np.maximum(np.max(columns, axis=0), F32(0))
    below = np.maximum(-np.min(columns, axis=0), F32(0))
    up, down = F32(1) / F32(format.high), F32(1) / F32(-format.low)
    bases = [np.maximum(above * up, below * down)]
    if format.low != -format.high:  # the longer side may be that of the other sign
        bases.append(-np.maximum(above * down, below * up))
    starts = [(base * factor, F32(0)) for base in bases for factor in clip_factors(format)]
    return search(format, columns, starts, is_signed=True)


def fit_zero(format, columns):
    low = np.minimum(np.min(columns, axis=0), F32(0))
    span = np.maximum(np.max(columns, axis=0), F32(0)) - low
    step = F32(1) / F32(format.high)
    with np.errstate(divide="ignore", invalid="ignore"):
        ideal = np.rint(np.where(span > 0, -low / (span * step), F32(0)))
    starts = [(factor * span * step, np.clip(ideal + F32(shift), F32(0), F32(format.high)))
              for shift in (0, -1, 1) for factor in clip_factors(format)]
    return search(format, columns, starts, is_signed=False)


def power(x, exponent):
    """x ** exponent by series, as accurate as f32 is, to the bit as pare has it."""
    bits = x.view(np.int32)
    e = (bits - np.int32(0x3F3504F3)) >> 23
    m = (bits - (e << 23)).view(F32)
    t = (m - F32(1)) / (m + F32(1))
    tt = t * t
    log = t * (F32(2.8853901) + tt * (F32(0.9617967) + tt * (F32(0.5770780) + tt * F32(0.4121986)))) + e.astype(F32)
    y = log * F32(exponent)
    n = np.rint(y)
    f = y - n
    series = F32(0.00015403530)
    for coefficient in (0.0013333558, 0.0096181291, 0.055504109, 0.24022651, 0.69314718, 1):
        series = F32(coefficient) + f * series
    return (series.view(np.int32) + (n.astype(np.int32) << 23)).view(F32)


def solve_zero(groups, columns):
    """Half-quadratic quantization (Badri and Shaji 2023), p = 0.7."""
    beta, zero = F32(10), groups.zero
    best, least = zero, np.full_like(zero, np.inf)
    is_active = np.ones(zero.shape, bool)
    for _ in range(20):
        now = Groups(groups.format, groups.scale, zero)
        inverse_beta = F32(1) / beta
        levels = [now.round(w) for w in columns]
        deltas = [w - now.decode(v) for w, v in zip(columns, levels)]
        error = sum_up([np.abs(d) for d in deltas])
        parts = []
        for w, v, d in zip(columns, levels, deltas):
            shrunk = np.maximum(np.abs(d) - power(np.abs(d), 0.7 - 1) * inverse_beta, F32(0))
            parts.append(v - (w - np.copysign(shrunk, d)) * now.inverse)
        is_active = is_active & (error < least)
        least = np.where(is_active, error, least)
        best = np.where(is_active, zero, best)
        zero = np.where(is_active, sum_up(parts) / F32(len(columns)), zero)
        beta = beta * F32(1.01)
    return np.clip(np.rint(best), F32(0), F32(groups.format.high))


def quantize(weights, format):
    """Codes [outputs, inputs], scales and zero points [outputs, groups], and the
    weights that they stand for; with zero points by HQQ, else to nearest."""
    at_once = max(1, (1 << 18) // weights.shape[1])
    if len(weights) > at_once:
        parts = [quantize(weights[i: i + at_once], format) for i in range(0, len(weights), at_once)]
        return tuple(np.concatenate(part) for part in zip(*parts))
    rows = weights.reshape(len(weights), -1, format.group)
    columns = np.ascontiguousarray(np.moveaxis(rows, -1, 0))
    if format.has_zero:
        groups = fit_zero(format, columns)
        groups = Groups(format, groups.scale, solve_zero(groups, columns))
    else:
        groups = fit_symmetric(format, columns)
    levels = np.stack([groups.round(w) for w in columns], axis=-1)
    decoded = np.stack([groups.decode(v) for v in np.moveaxis(levels, -1, 0)], axis=-1)
    zero = np.broadcast_to(groups.zero, groups.scale.shape)
    return levels.reshape(weights.shape), groups.scale, zero, decoded.reshape(weights.shape)


def pack_bits(numbers, bits):
    """Rows of numbers below 2^bits, lowest bits first, as rows of whole bytes."""
    planes = (numbers.astype(np.uint8)[..., None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(planes.reshape(len(numbers), -1), axis=-1, bitorder="little")


def pack(levels, scale, zero, format):
    """The bytes of blocks: scale, zero point and codes of one group after the other."""
    count = scale.size
    codes = levels.reshape(count, format.group).astype(np.int32)
    if not format.has_zero and format.bits < 8:
        codes = codes + (1 << (format.bits - 1))
    parts = [np.ascontiguousarray(scale.astype(np.float16).reshape(count, 1)).view(np.uint8)]
    if format.has_zero:
        parts.append(pack_bits(zero.reshape(count, 1), format.bits))
    parts.append(pack_bits(codes & 0xFF, format.bits))
    return np.concatenate(parts, axis=1).tobytes()
