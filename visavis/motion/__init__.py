"""The body: skeleton, motion, kinematics, files. Imports nothing else of visavis."""
