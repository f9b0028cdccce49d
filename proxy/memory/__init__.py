"""The Responses API's state."""
