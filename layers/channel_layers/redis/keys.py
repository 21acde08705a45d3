"""Every key that the layer writes.

All of a partition's keys begin with ``{<tag>}:``, so that they lie in one slot of a cluster and
scripts may use several of them. The tag is the layer's prefix, in a cluster followed by the
number of the partition (:func:`channel_layers.redis.hosts.partition_tag`).

====================  ======  ==================================================================
``i:<process>``       stream  what a process has yet to read: frames (``d``, with a position
                              ``p``; ``a`` if it makes the process a member), names of plain
                              channels with messages (``wanted``), marks (``fence``), and that
                              more did not fit (``full``)
``p``                 zset    processes, by when they were last heard of (milliseconds)
``n:<process>``       hash    group -> id of the entry that last made the process a member
``s:<process>``       string  number of its last command that must not run twice
``g:<group>``         set     processes with members; ``!`` if there are plain channels
``m:<group>``         zset    ``<capacity>:<plain channel>``, by when the membership lapses
``h:<group>``         stream  history, entry ids are ``<offset>-1``
``o:<group>``         hash    ``epoch`` and ``offset`` of the history
``c:<channel>``       list    messages of a plain channel, ``<milliseconds>:<frame>``
``w:<channel>``       zset    processes with readers that wait for it
``k:<process>``       hash    plain channel -> the last answer to a pull, until the next one
``u:<process>``       hash    messages of plain channels that are not yet acknowledged
``x``                 -       never exists: a key of every script (:class:`~.outbox.Outbox`)
====================  ======  ==================================================================
"""

from __future__ import annotations

__all__ = ["Keys"]


class Keys:
    """The keys of one partition.

    Args:
        tag: what stands in the braces.
    """

    def __init__(self, tag: str) -> None:
        self.base = f"{{{tag}}}:"
        self.processes = f"{self.base}p"
        self.never = f"{self.base}x"
        self.all = f"{self.base}*"
        """Pattern of every key; no legal prefix holds what a pattern gives a meaning to."""

    def inbox(self, process: str) -> str:
        """Stream of a process."""
        return f"{self.base}i:{process}"

    def group(self, group: str) -> str:
        """Set of processes."""
        return f"{self.base}g:{group}"

    def plain(self, channel: str) -> str:
        """List of messages."""
        return f"{self.base}c:{channel}"

    def log(self, group: str) -> str:
        """History."""
        return f"{self.base}h:{group}"

    def unacknowledged(self, process: str) -> str:
        """Hash of messages."""
        return f"{self.base}u:{process}"

    def claims(self, process: str) -> str:
        """Hash of answers."""
        return f"{self.base}k:{process}"

    def is_content(self, key: bytes) -> bool:
        """Whether ``flush`` removes a key; what tells that processes live stays."""
        return key[len(self.base) : len(self.base) + 1] in b"gmhocwku"
