"""The rooms that the demo starts with."""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

ROOMS = (("lobby", "Lobby"), ("kitchen", "Kitchen"), ("workshop", "Workshop"))


def open_rooms(apps: StateApps, _: BaseDatabaseSchemaEditor) -> None:
    """Make them, unless they are there."""
    room = apps.get_model("demo_chat", "Room")
    for slug, title in ROOMS:
        room.objects.get_or_create(slug=slug, defaults={"title": title})


class Migration(migrations.Migration):
    """Data only; taking it back leaves the rooms, as people may have spoken in them."""

    dependencies = (("demo_chat", "0001_initial"),)
    operations = (migrations.RunPython(open_rooms, migrations.RunPython.noop),)
