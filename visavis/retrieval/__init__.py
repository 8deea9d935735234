"""The gesture lexicon, the posing engine and the library search."""
