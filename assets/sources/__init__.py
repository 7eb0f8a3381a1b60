"""Raw sources, one module each: its docstring is the asset's description."""
