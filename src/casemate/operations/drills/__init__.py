"""Drills: attacks played on a copy of a project, to see whether its guards see them."""
