"""Every resource of the HTTP door, from the tables it is assembled from."""

from app.auth.principals import SCOPES
from app.observability.metrics import Metrics
from app.observability.upstreams import UpstreamMetrics
from app.settings import SERVICE_PATH
from app.web import health
from app.web.collection_resources import COLLECTION_RESOURCES
from app.web.dicomweb import READ, RESOURCES
from app.web.proxy import RESOURCES as PROXIED
from app.web.quota import quota
from app.web.relations import RELATIONS
from tools.docs.tables import code, sentence, table

OPERATIONS = (
    ("/livez", health.live),
    ("/readyz", health.ready),
    ("/metrics", health.metrics),
    ("/quota", quota),
)


def resources_table() -> str:
    """Return one row for each DICOMweb resource, in order of path; the order of the table is one of speed."""
    resources = sorted(RESOURCES, key=lambda resource: ("POST" in resource.methods, resource.path))
    return table(
        (
            "resource, below `" + SERVICE_PATH + "`",
            "methods",
            "what it does",
            "limit besides that of all requests",
        ),
        (
            (
                code(resource.path.replace(":path", "")),
                ", ".join(resource.methods),
                sentence(resource.endpoint.__doc__),
                "" if resource.limit == "cheap" else code(resource.limit),
            )
            for resource in resources
        ),
    )


def proxied_table() -> str:
    """Return one row for each resource of another server that is served here, in order of path."""
    resources = sorted(PROXIED, key=lambda resource: ("POST" in resource.methods, resource.path))
    return table(
        ("resource, below `/proxy/{upstream}" + SERVICE_PATH + "`", "methods", "what it does", "limit"),
        (
            (
                code(resource.path.replace(":path", "")),
                ", ".join(resource.methods),
                sentence(resource.endpoint.__doc__),
                "" if resource.limit == "cheap" else code(resource.limit),
            )
            for resource in resources
        ),
    )


def collections_table() -> str:
    """Return one row for each resource about collections."""
    return table(
        ("resource", "methods", "what it does", "limit"),
        (
            (code(one.path), ", ".join(one.methods), sentence(one.endpoint.__doc__), code(one.limit))
            for one in COLLECTION_RESOURCES
        ),
    )


def relations_table() -> str:
    """Return one row for each resource of images that belong together."""
    return table(
        ("resource", "methods", "what it does", "limit"),
        (
            (code(path), ", ".join(READ), sentence(related.__doc__), code("search"))
            for path, related in RELATIONS.items()
        ),
    )


def operations_table() -> str:
    """Return one row for each resource that is not DICOMweb."""
    return table(
        ("resource", "what it does"),
        ((code(f"GET {path}"), sentence(endpoint.__doc__)) for path, endpoint in OPERATIONS),
    )


def metrics_table() -> str:
    """Return one row for each metric that is counted."""
    kinds = {"counter": "_total", "histogram": "_bucket, _sum, _count"}
    return table(
        ("metric", "kind", "what it counts"),
        (
            (
                code(metric.name + (kinds[metric.type] if metric.type == "counter" else "")),
                metric.type,
                metric.documentation,
            )
            for registry in (Metrics().registry, UpstreamMetrics().registry)
            for metric in registry.collect()
        ),
    )


def scopes_table() -> str:
    """Return one row for each scope of a token."""
    return table(("scope", "allows to"), ((code(scope), text) for scope, text in SCOPES.items()))
