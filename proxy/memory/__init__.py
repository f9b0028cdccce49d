"""State of the Responses API: stored responses, conversations and background responses."""
