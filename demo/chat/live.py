"""Whatever stores a message through the ORM, the people in the room see it at once."""

from __future__ import annotations

from functools import partial

from django.db import transaction
from django.db.models.signals import post_save
from django.dispatch import receiver

from chat.models import Message, room_group
from demo_site.layer import site_layer


@receiver(post_save, sender=Message)
def announce_when_committed(instance: Message, created: bool, using: str, **_: object) -> None:
    """Announce a new message once its transaction has committed, never if it is rolled back."""
    if created:
        transaction.on_commit(partial(announce, instance), using=using)


def announce(message: Message) -> None:
    """Tell the people in the room, from blocking code, and note that they were told.

    Raises:
        LayerError: the layer could not take it. The message is stored all the same.
    """
    site_layer().sync.group_send(
        room_group(message.room_id), {"type": "chat.message", "message": message.payload()}
    )
    Message.objects.filter(pk=message.pk).update(announced=True)
