"""Static files served by the site itself, so that the demo needs no second server."""

from __future__ import annotations

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.http import FileResponse, HttpRequest, HttpResponse


class WithStaticFiles(ASGIStaticFilesHandler):
    """Django's static handler, also with debug off, sending each file in one piece.

    Django streams files from plain iterators, which under ASGI it warns about and reads into
    memory anyway.
    """

    def serve(self, request: HttpRequest) -> HttpResponse | FileResponse:
        """The response for one static file."""
        response = super().serve(request)
        if not isinstance(response, FileResponse):
            return response
        whole = HttpResponse(response.getvalue(), headers=dict(response.items()))
        response.close()
        return whole
