"""The turn graph, planners, engines, sessions and events."""
