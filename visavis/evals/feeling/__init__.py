"""What is felt by who says a given text: GoEmotions, two-turn cases, plain sentences; see `__main__`."""
