"""Measuring on rows that the training code never saw, in a second confined process that runs no
user code.

One file per question: quality, robustness, membership, parity; `worker.py` runs them, `stage.py` is
outside, and `plots.py` draws what they found.
"""
