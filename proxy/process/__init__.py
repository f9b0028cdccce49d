"""The process: listeners, signals, workers and the admin listener."""
