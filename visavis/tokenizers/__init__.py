"""The motion codec, the joint vocabulary and the turn language."""
