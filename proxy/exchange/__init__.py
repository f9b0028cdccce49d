"""One request's life: what is asked, attempts, lanes, settlement."""
