"""What the gesture library promises, measured: `python -m visavis.evals.library NAME`."""
