"""The table of resources about collections; those below the root of each are in dicomweb.py."""

from typing import Any

from starlette.routing import Route

from app.settings import COLLECTIONS_PATH
from app.throttle.limits import RouteLimits
from app.web import collections
from app.web.dicomweb import READ, Resource, ResourceRoute
from app.web.transactions import Transaction

COLLECTION = COLLECTIONS_PATH + "/{collection}"
MEMBERS = COLLECTION + "/members"

COLLECTION_RESOURCES: tuple[Resource, ...] = (
    Resource(COLLECTIONS_PATH, READ, collections.list_collections, "search"),
    Resource(COLLECTION, READ, collections.retrieve_collection, "search"),
    Resource(COLLECTIONS_PATH, ("POST",), collections.make_collection, "store"),
    Resource(COLLECTION, ("PATCH",), collections.alter_collection, "store"),
    Resource(COLLECTION, ("DELETE",), collections.delete_collection, "store"),
    Resource(MEMBERS, ("POST",), collections.add_to_collection, "store"),
    Resource(MEMBERS, ("DELETE",), collections.remove_from_collection, "store"),
)

_GIVES = ("application/json",)
TRANSACTIONS: dict[Any, Transaction] = {
    collections.list_collections: Transaction("List collections", ("limit", "offset"), gives=_GIVES),
    collections.retrieve_collection: Transaction("Describe a collection", gives=_GIVES),
    **{
        one: Transaction(name, takes=_GIVES, gives=_GIVES)
        for one, name in (
            (collections.make_collection, "Make a collection"),
            (collections.alter_collection, "Change a collection"),
            (collections.add_to_collection, "Add members to a collection"),
            (collections.remove_from_collection, "Remove members from a collection"),
        )
    },
    collections.delete_collection: Transaction("Delete a collection"),
}


def curating_routes(limits: RouteLimits) -> list[Route]:
    """Return the routes, each with its limit."""
    return [
        ResourceRoute(one.path, limits.limited(one.endpoint, one.limit), methods=one.methods)
        for one in COLLECTION_RESOURCES
    ]
