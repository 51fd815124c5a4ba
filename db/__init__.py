"""Postgres: numbered migrations and one file of query functions per noun."""
