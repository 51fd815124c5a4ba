"""GraphQL over HTTP: one file per noun, and what they share."""
