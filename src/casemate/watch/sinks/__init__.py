"""Sinks: log lines and gauges on their way to other people's systems, all through one spool."""
