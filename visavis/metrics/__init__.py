"""Metrics on exported motion and speech, each with its interval."""
