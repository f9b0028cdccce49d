"""The Responses API over WebSockets: a connection, its messages, and each response as an exchange."""
