"""Whether what people tell of answers may teach: sources, selection, verdicts."""
