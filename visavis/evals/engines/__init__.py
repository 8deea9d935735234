"""How fast the engines are, and whether they agree: `python -m visavis.evals.engines NAME`."""
