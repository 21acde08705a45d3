"""A burst of 90 group_sends to 4 processes with 50 members each."""

from __future__ import annotations

import json
import time
from statistics import median

from benchmarks.bench import Bench
from benchmarks.cases import Figure, Result, Scenario
from benchmarks.layers import Row
from benchmarks.members import Members
from benchmarks.readers import Readers, message
from benchmarks.tally import Losses

__all__ = ["SCENARIO"]

PROCESSES = 4
MEMBERS = 50
SENDS = 90
GROUP = "bench.burst"


async def burst(bench: Bench) -> Result:
    """Send 90 without a pause, wait until all processes have had them; several times."""
    sending = bench.open()
    rates = []
    sent = 0
    async with Members(bench.case, PROCESSES) as members:
        await members.answers("ready")
        for burst_number in range(bench.amount(6, 2)):
            start = time.monotonic()
            for _ in range(SENDS):
                await sending.group_send(GROUP, message(sent))
                sent += 1
            members.tell({"sent": sent})
            came = await members.answers("came")
            if None in came:  # something was lost: the tallies say how much
                break
            if burst_number:  # the first one warms up
                rates.append(SENDS * PROCESSES * MEMBERS / (max(came) - start))
        members.dismiss()
        ends = [Result.from_json(found) for found in await members.answers("result")]
    losses = sum((end.losses for end in ends), Losses())
    return Result({"rate": median(rates)} if rates else {}, losses)


async def member(bench: Bench) -> Result:
    """One of the processes: 50 channels in the group, and a report after each burst."""
    layer = bench.open()
    orders = await bench.orders()
    sent = 0
    async with Readers() as readers:
        arrivals = readers.arrivals
        for _ in range(MEMBERS):
            channel = await layer.new_channel()
            await layer.group_add(GROUP, channel)
            readers.add(layer, channel)
        await readers.start()
        arrivals.expect(SENDS * MEMBERS)
        bench.say({"ready": True})
        while order := await orders.readline():
            sent = json.loads(order)["sent"]
            whole = await arrivals.all()
            arrivals.expect(SENDS * MEMBERS)
            bench.say({"came": arrivals.completed if whole else None})
    return Result(losses=readers.losses({0: sent}))


def _not_applicable(row: Row) -> str | None:
    return None if row.distributed else "it lives within one process"


SCENARIO = Scenario(
    name="burst",
    title=f"{PROCESSES} processes x {MEMBERS} members, bursts of {SENDS} group_sends",
    figures=(Figure("rate", "deliveries", "/s", lower_is_better=False),),
    run=burst,
    not_applicable=_not_applicable,
    member=member,
)
