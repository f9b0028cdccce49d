"""The HTTP endpoints: thin request handlers."""
