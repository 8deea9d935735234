"""The measurements of the first release: each prints one table, with the number of samples and 95 % intervals.

    python -m visavis.evals.first_light NAME --out FILE.json

Names: timing, words, gestures, move, facts, controls. All but `move` read frozen data of `visavis/evals/data`, which
no corpus of the project holds.
"""
