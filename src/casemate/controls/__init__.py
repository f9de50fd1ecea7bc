"""What must hold at every step, low to high: keys, audit, access, privacy."""
