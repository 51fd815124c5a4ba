"""How Runstone is run."""
