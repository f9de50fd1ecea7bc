"""Scans of a gateway that runs: a scratch copy of the project's, or one that somebody names."""
