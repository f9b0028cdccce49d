"""HTTP/1.1 with callers and upstreams."""
