"""Scripted dialogs, reports and comparisons."""
