"""What the pipeline supplies its stages with, and what it keeps of a run beside their records."""
