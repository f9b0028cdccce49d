"""Processes: listeners, signals, workers and the supervisor."""
