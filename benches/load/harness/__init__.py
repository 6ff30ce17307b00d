"""What the scripts `run` and `faults` share: building, processes, peers, measuring, tables."""
