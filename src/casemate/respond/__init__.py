"""Responding: what an alert means, which incident it belongs to, whom it concerns; tickets."""
