"""The teacher, corpora and training of every shipped model."""
