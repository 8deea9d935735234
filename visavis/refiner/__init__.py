"""The diffusion refiner that puts motion in time with speech."""
