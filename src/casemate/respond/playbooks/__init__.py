"""Playbooks: what is done about incidents of a kind, step by step, each proven."""
