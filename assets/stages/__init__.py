"""One module per stage: a plain function does the step, ``build`` makes it an asset."""
