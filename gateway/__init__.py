"""What is done to a request whatever the model: guard, log, draining. Knows ``models`` only."""
