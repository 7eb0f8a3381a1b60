"""HTTP services: one per contract, not per model. Knows ``models`` and BentoML, nothing else."""
