"""The corpus of ACT."""
