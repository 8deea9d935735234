"""The default weights, each with a card."""
