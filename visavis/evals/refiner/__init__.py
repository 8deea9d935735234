"""The refiner measured on held-out taught turns: accuracy, rhythm, protection, seams, edits, seeds."""
