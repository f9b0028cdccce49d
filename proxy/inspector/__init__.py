"""The wire inspector."""
