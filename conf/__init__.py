"""What an operator can say: schemas, loader, provider and price tables, example files."""
