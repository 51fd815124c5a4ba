"""Real Postgres, Valkey and S3 on this machine, for `runstone up` and for the tests: see `deploy.local.stack`."""
