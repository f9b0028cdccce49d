"""Who may ask for what, how much of it, and what it costs."""
