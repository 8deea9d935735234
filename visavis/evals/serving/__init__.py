"""Engines compared: do they write the same ids, how many turns do they carry at once, what do grammars cost?"""
