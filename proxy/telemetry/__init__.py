"""Log, metrics and traces."""

LEFT = 499  # the status of a request whose caller left before it was answered
