"""Which gesture, whether and on which word: what ACT decides, measured beside recall alone.

python -m visavis.evals.acts decisions        the held half of the library's sentences, neutral ones, parameters
python -m visavis.evals.acts tune --write     choose how model and recall are joined, on the development half
python -m visavis.evals.acts topical          what it makes of conversations that nobody here wrote
"""
