"""HTTP in: one RequestHandler a path, thin."""
