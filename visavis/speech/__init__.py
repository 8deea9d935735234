"""The voice: synthesis, prosody, visemes, alignment."""
