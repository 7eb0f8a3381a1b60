"""Frozen types that cross every border. Nothing here computes, reads or writes."""
