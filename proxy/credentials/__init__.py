"""Credentials that end: where they come from, and their renewal before they do."""
