"""Builds the default avatar from code alone: distance fields, a ring-topology face, skin weights, face morphs.

`python -m visavis.motion.avatar_build` writes `visavis/motion/data/avatar.safetensors`; the same code gives the same
file. Needs the `train` extra (scikit-image, fast-simplification); using the built avatar does not.
"""
