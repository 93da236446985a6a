"""Serve the published viewer from an origin of its own, configured for one DICOMweb server."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DIST = Path(__file__).parent / "node_modules" / "@ohif" / "app" / "dist"


Configurations = dict[str, dict[str, object]]


def data_source(name: str, dicomweb_url: str, chosen: dict[str, object]) -> dict[str, object]:
    """A data source of OHIF's; `chosen` replaces or adds."""
    configuration = {
        "friendlyName": "dermzoo",
        "qidoRoot": dicomweb_url,
        "wadoRoot": dicomweb_url,
        "imageRendering": "wadors",
        "thumbnailRendering": "thumbnail",
        "thumbnailRequestStrategy": "fetch",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": True,
        "supportsWildcard": True,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
        **chosen,
    }
    return {
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": name,
        "configuration": configuration,
    }


def app_config(dicomweb_url: str, sources: Configurations | None = None) -> str:
    """OHIF's configuration: a data source for each of `sources`, nothing that asks any other host."""
    sources = sources or {"dermzoo": {}}
    config = {
        "routerBasename": None,
        "extensions": [],
        "modes": [],
        "showStudyList": True,
        "investigationalUseDialog": {"option": "never"},
        "defaultDataSourceName": next(iter(sources)),
        "dataSources": [data_source(name, dicomweb_url, chosen) for name, chosen in sources.items()],
    }
    return f"window.config = {json.dumps(config)};"


class ViewerHandler(SimpleHTTPRequestHandler):
    """The files of dist/, our configuration, and index.html for the viewer's own addresses."""

    def __init__(self, *arguments: object, config: bytes) -> None:
        self.config = config
        super().__init__(*arguments, directory=str(DIST))

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/app-config.js":
            self.send_response(200)
            self.send_header("Content-Type", "text/javascript")
            self.send_header("Content-Length", str(len(self.config)))
            self.end_headers()
            self.wfile.write(self.config)
            return
        if not (DIST / path.lstrip("/")).is_file():
            self.path = "/index.html"
        super().do_GET()

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serve_viewer(dicomweb_url: str, sources: Configurations | None = None) -> Iterator[str]:
    """Yield the viewer's address, without a slash at the end; its first data source is the default."""
    handler = partial(ViewerHandler, config=app_config(dicomweb_url, sources).encode())
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
