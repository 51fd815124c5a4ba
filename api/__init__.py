"""GraphQL over HTTP: one file per noun, and what they share."""

from api.enums import describe_all

describe_all()  # before any type uses an enum, because Strawberry reads it there and then
