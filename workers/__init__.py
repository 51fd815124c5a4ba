"""The worker: rows in Postgres say what is to be done, the queue only says that it may be time to look."""
