"""The long-running process: routing, the upstream client, the life of one exchange, the command line."""
