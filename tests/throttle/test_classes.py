"""Who is in which class, and in which subnet."""

import pytest

from app.throttle.classes import ClientClass, class_of, subnet_of
from app.throttle.clients import Client

CLASSES = tuple(
    ClientClass.model_validate({"name": name, **content})
    for name, content in {
        "campus": {"networks": ["198.51.100.0/24"], "factor": 5.0},
        "crawlers": {"networks": ["198.51.0.0/16", "2001:db8:5::/48"], "treatment": "denied"},
        "partner": {"tokens": ["mirror", "1a2b3c4d"], "treatment": "unlimited"},
    }.items()
)


@pytest.mark.parametrize(
    ("client", "name"),
    [
        (Client("ip:198.51.100.7"), "campus"),  # the first that holds it
        (Client("ip:198.51.7.7"), "crawlers"),
        (Client("ip:2001:db8:5:1::/64"), "crawlers"),
        (Client("ip:192.0.2.1"), None),
        (Client("local"), None),
        (Client("token:99", has_token=True, name="mirror"), "partner"),
        (Client("token:1a2b3c4d", has_token=True, name="x"), "partner"),
        (Client("token:99", has_token=True, name="x"), None),
        (Client("token:99", has_token=True), None),
    ],
)
def test_the_first_class_that_holds_a_client(client, name):
    found = class_of(client, CLASSES)
    assert (found.name if found else None) == name


@pytest.mark.parametrize(
    ("client", "subnet"),
    [
        (Client("ip:192.0.2.200"), "192.0.2.0/24"),
        (Client("ip:2001:db8:1:2::/64"), "2001:db8:1::/48"),
        (Client("local"), None),
        (Client("token:99", has_token=True), None),
    ],
)
def test_the_subnet_that_a_client_shares(client, subnet):
    assert subnet_of(client) == subnet
