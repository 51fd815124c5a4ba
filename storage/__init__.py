"""The object store: presigned requests for clients, verified copies for the worker."""
