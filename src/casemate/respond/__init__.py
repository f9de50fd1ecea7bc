"""Responding: what an alert means, which incident it belongs to, and whom it concerns."""
