"""Anything by its id."""

import strawberry


@strawberry.interface(description="Anything with an id that is unique over all kinds.")
class Node:
    id: strawberry.ID = strawberry.field(description="Its UUID.")
