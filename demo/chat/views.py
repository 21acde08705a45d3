"""The pages of the chat: plain blocking views, usable without JavaScript."""

from __future__ import annotations

import uuid

from django.contrib import messages as notices
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_GET, require_POST

from channel_layers.exceptions import LayerError
from chat.models import Room
from chat.posting import open_room, post, recent
from chat.rules import MAX_ROOM_TITLE, MAX_TEXT
from demo_site.frames import Refusal
from demo_site.layer import site_layer

LAYER_AWAY = (
    "The live connection between people is away at the moment. Messages are stored; "
    "reload the page to see new ones."
)
STATUS = {"too_fast": 429, "unknown_room": 404}


@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Go to a room, or list them for somebody who is new."""
    return render(request, "chat/index.html", _rooms())


@require_GET
def room(request: HttpRequest, slug: str) -> HttpResponse:
    """A room with what was said last; the socket goes on from there."""
    found = Room.objects.filter(slug=slug).first()
    if found is None:
        return _unknown_room(request, slug)
    if not request.user.is_authenticated:
        return redirect_to_login(found.get_absolute_url())
    return _room_page(request, found)


@login_required
@require_POST
def post_message(request: HttpRequest, slug: str) -> HttpResponse:
    """Store what the form holds; it appears live on the pages of the others."""
    found = Room.objects.filter(slug=slug).first()
    if found is None:
        return _unknown_room(request, slug)
    text = request.POST.get("text", "")
    try:
        posted = post(found.pk, request.user, text, uuid.uuid4())
    except Refusal as refusal:
        return _room_page(request, found, refusal=refusal, draft=text)
    if not posted.live:
        notices.warning(request, LAYER_AWAY)
    return redirect(found)


@login_required
@require_POST
def new_room(request: HttpRequest) -> HttpResponse:
    """Open a room, or enter the one that has this name."""
    try:
        return redirect(open_room(request.POST.get("title", "")))
    except Refusal as refusal:
        context = {**_rooms(), "refusal": refusal, "title": request.POST.get("title", "")}
        return render(request, "chat/index.html", context, status=400)


def _room_page(
    request: HttpRequest, room: Room, *, refusal: Refusal | None = None, draft: str = ""
) -> HttpResponse:
    try:
        # Before the messages are read: what comes in between is then in both, not in neither.
        position = list(site_layer().sync.position(room.group))
    except LayerError:
        position = None
        notices.warning(request, LAYER_AWAY)
    said = recent(room.pk)
    context = {
        **_rooms(),
        "room": room,
        "said": said,
        "refusal": refusal,
        "draft": draft[:MAX_TEXT],
        "page": {
            "room": {"slug": room.slug, "title": room.title},
            "me": request.user.pk,
            "messages": said,
            "position": position,
            "maxText": MAX_TEXT,
        },
    }
    status = 200 if refusal is None else STATUS.get(refusal.code, 400)
    return render(request, "chat/room.html", context, status=status)


def _unknown_room(request: HttpRequest, slug: str) -> HttpResponse:
    return render(request, "chat/index.html", {**_rooms(), "unknown": slug}, status=404)


def _rooms() -> dict[str, object]:
    return {"rooms": Room.objects.all(), "max_title": MAX_ROOM_TITLE, "max_text": MAX_TEXT}
