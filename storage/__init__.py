"""Postgres tables, load and save of a batch, read queries; outcomes in Redis."""
