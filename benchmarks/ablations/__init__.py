"""The published ablations of TransAct and TransAct V2, on real logs and on simulated people: ``make ablations``."""
