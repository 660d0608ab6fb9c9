"""The API's documentation at `/docs`, from our own port: nothing is loaded from a CDN, so it works without one."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_ASSETS = "/docs-assets"


def add_docs(app: FastAPI) -> None:
    """Swagger UI over the app's own description; its files are those that `fastapi-offline` carries."""
    app.mount(_ASSETS, StaticFiles(directory=str(files("fastapi_offline") / "static")))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json", title=app.title,
            swagger_js_url=f"{_ASSETS}/swagger-ui-bundle.js", swagger_css_url=f"{_ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{_ASSETS}/favicon.png",
        )  # fmt: skip
