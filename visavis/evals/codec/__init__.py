"""The motion codec on what it never saw: places of joints, codes used, speed; `python -m visavis.evals.codec`."""
