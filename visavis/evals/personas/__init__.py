"""Does the default do on held-out personas what it must? `python -m visavis.evals.personas`.

Facts given right, what is not known declined, follow-ups understood, emotion as intended; and five talks of ten turns
to read. The questions are frozen in `visavis/evals/data` (`personas_held.jsonl`, `personas_emotion.yaml`): people and
settings of the split `dev`, which is made by the words of a name alone, before anything is drawn. None are trained on.
"""
