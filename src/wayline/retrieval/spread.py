"""How popular a typical item is: mean and deviation of the logarithms of all counts, at any moment, without a pass."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from wayline.schema import IntVector

Doubles = npt.NDArray[np.float64]
FLOOR = 1e-2  # one action 6.6 half-lives ago
LEAST_STD = 0.01  # where all counts are alike, one action more must not outweigh every other signal
BINS = 16  # an octave
FRACTION = 1 << 20  # an octave, in the whole numbers that logarithms are held in
BIN = FRACTION // BINS
LOWEST, HIGHEST = -32, 41  # octaves: less is 2e-8 of FLOOR's logarithm, more needs 2**40 actions


class Spread(NamedTuple):
    """How the logarithms of some counts are spread: enough for their mean and deviation at any moment.

    ``log(count + FLOOR)`` does not shrink by a scalar, but within a bin of a 16th of an octave it is a parabola to
    1e-7, so the moments of the bins are enough. They are whole numbers: sums that do not depend on the way.

    Attributes
    ----------
    octave : int
        Of the newest action; the bins begin ``LOWEST`` octaves from it.
    moments : int64 array, shape [3, bins]
        How many, the sum of their places in the bin, the sum of the squares.
    n_items : int
        How many items there are, those with a count of nothing included.
    """

    octave: int
    moments: npt.NDArray[np.int64]
    n_items: int

    @classmethod
    def empty(cls, n_items: int) -> Spread:
        """Give the spread of items that all have a count of nothing."""
        return cls(0, np.zeros((3, (HIGHEST - LOWEST) * BINS), np.int64), n_items)

    def moved(self, octave: int, old: IntVector, new: IntVector) -> Spread:
        """Give the spread with the logarithms ``old`` (of ``log2_of``) taken out and ``new`` put in."""
        moments = np.zeros_like(self.moments)
        bins = moments.shape[1]
        shift = min(max((octave - self.octave) * BINS, 0), bins)
        moments[:, : bins - shift] = self.moments[:, shift:]
        sign = np.repeat([-1, 1], [len(old), len(new)])
        logs = np.concatenate([old, new])
        rows, place = np.divmod(logs - (octave + LOWEST) * FRACTION, BIN)
        sign[rows < 0] = 0  # already left out, or never in
        rows = np.clip(rows, 0, bins - 1)
        for power in range(3):
            np.add.at(moments[power], rows, sign * place**power)
        return self._replace(octave=octave, moments=moments)

    def standard(self, octaves_later: float) -> tuple[float, float]:
        """Give mean and standard deviation of ``log(count + FLOOR)`` so long after the octave began."""
        filled = np.flatnonzero(self.moments[0])
        some = self.moments[0, filled].astype(np.float64)
        place = self.moments[1, filled] / some
        centre = (filled * BIN + place) / FRACTION + (LOWEST - octaves_later)
        var = (self.moments[2, filled] / some - place**2) * (np.log(2) / FRACTION) ** 2
        count = np.exp2(centre)
        value = np.log(count + FLOOR)
        slope = count / (count + FLOOR)
        bend = slope * (1 - slope)
        n = max(self.n_items, 1)
        rest, nothing = self.n_items - some.sum(), np.log(FLOOR)
        mean = ((some * (value + bend * var / 2)).sum() + rest * nothing) / n
        off = value - mean
        square = (some * (off**2 + (slope**2 + off * bend) * var)).sum()
        square += rest * (nothing - mean) ** 2
        return float(mean), max(float(np.sqrt(square / n)), LEAST_STD)


def log2_of(count: Doubles, octave: int) -> IntVector:
    """Give ``log2`` of the counts above 0, in ``1 / FRACTION``; the same from whatever octave they are seen."""
    mantissa, exponent = np.frexp(count[count > 0])
    whole = (exponent.astype(np.int64) + octave) * FRACTION
    return np.asarray(whole + np.rint(np.log2(mantissa) * FRACTION).astype(np.int64))
