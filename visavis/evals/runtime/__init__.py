"""The runtime, measured: how soon a turn begins, how an interruption goes, what faults do, and what lasts."""
