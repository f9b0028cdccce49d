"""Which upstream answers: candidates, ejection."""
