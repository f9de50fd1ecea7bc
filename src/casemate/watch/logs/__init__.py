"""Logs: one kind of line for every door, stage, request and decision."""
