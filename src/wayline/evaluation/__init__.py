"""Measure what a recommender is worth: protocols, metrics, baselines, and PinnerSage's own
walk-forward.
"""

from wayline.evaluation.evaluate import as_recommend, evaluate, positive_of
from wayline.evaluation.intervals import Interval, bootstrap, paired_difference, wilson
from wayline.evaluation.report import Report, Row, SplitReport
from wayline.evaluation.splits import Case, Split, leave_one_out, time_split

__all__ = [
    "Case",
    "Interval",
    "Report",
    "Row",
    "Split",
    "SplitReport",
    "as_recommend",
    "bootstrap",
    "evaluate",
    "leave_one_out",
    "paired_difference",
    "positive_of",
    "time_split",
    "wilson",
]
