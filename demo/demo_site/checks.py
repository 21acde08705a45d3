"""A system check that names the remedy when the front end has not been built."""

from __future__ import annotations

from django.conf import settings
from django.core import checks


@checks.register
def front_end_is_built(**_: object) -> list[checks.CheckMessage]:
    """Warn if ``demo/front/dist`` is missing: the pages work, but nothing on them is live."""
    if (settings.FRONT_DIST / "chat.js").exists():
        return []
    return [
        checks.Warning(
            "The front end has not been built, so nothing on the pages will be live.",
            hint="Run 'make demo', or 'npm ci && npm run build' in demo/front.",
            id="demo_site.W001",
        )
    ]
