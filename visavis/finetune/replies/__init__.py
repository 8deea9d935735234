"""The corpus of REPLY: personas, what they know, and how they answer; all of it the project's own words."""

from visavis.finetune.replies.corpus import generate

__all__ = ["generate"]
