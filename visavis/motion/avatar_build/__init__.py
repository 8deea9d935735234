"""Builds the shipped avatars from code alone: distance fields, a ring-topology face, skin weights, face morphs.

`python -m visavis.motion.avatar_build` writes their files under `visavis/motion/data`; the same code gives the same
files. Needs the `train` extra (scikit-image, fast-simplification); using the built avatar does not.
"""
