"""Every law fails on a layer that breaks what it says: a law that cannot fail says nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from channel_layers.testing import wrappers
from channel_layers.testing.harness import LayerUnderTest
from channel_layers.testing.laws import all_laws
from tests.testing import broken

Law = Callable[[object, LayerUnderTest], None]

CHANNELS_OWN = "channels.layers.InMemoryChannelLayer"

BREAKERS: dict[str, list[type | str]] = {
    # 1
    "test_any_legal_plain_name_works": [broken.StrictNames],
    "test_any_legal_group_name_works": [broken.StrictNames],
    "test_any_legal_local_part_works": [broken.StrictNames],
    "test_names_are_not_mixed_up": [broken.MixesUpGroups],
    "test_illegal_channel_names_are_refused_at_once": [broken.AnyNames, CHANNELS_OWN],
    "test_illegal_group_names_are_refused_at_once": [broken.AnyNames, CHANNELS_OWN],
    "test_new_channels_are_never_repeated": [broken.RepeatsNames, CHANNELS_OWN],
    # 2
    "test_a_sent_message_arrives_as_it_was": [broken.SendsJson],
    "test_a_group_message_arrives_as_it_was": [broken.SendsJson],
    "test_every_receiver_has_its_own_copy": [wrappers.SharedObjectsLayer],
    "test_a_sent_message_is_a_copy": [wrappers.SharedObjectsLayer],
    "test_what_cannot_travel_is_refused": [broken.SendsWhatItCan, CHANNELS_OWN],
    "test_the_error_names_the_path": [broken.SendsWhatItCan],
    "test_only_dicts_are_messages": [broken.SendsWhatItCan],
    # 3
    "test_a_big_message_comes_through": [broken.LosesBigMessages],
    "test_big_and_small_messages_keep_their_order": [broken.HurriesSmallMessages],
    "test_above_the_limit_is_refused": [broken.AnySize],
    "test_below_the_limit_passes": [broken.SmallerSize],
    "test_the_layer_names_its_exceptions": [CHANNELS_OWN],
    # 4
    "test_competing_readers_share_a_plain_channel": [
        wrappers.DoublingLayer,
        wrappers.LosingLayer,
    ],
    "test_what_is_sent_before_the_first_receive_waits": [
        wrappers.DoublingLayer,
        wrappers.LosingLayer,
    ],
    "test_members_get_one_copy_each": [wrappers.DoublingLayer, wrappers.LosingLayer],
    # 5
    "test_send_and_group_send_keep_their_order": [wrappers.ReorderingLayer],
    "test_a_plain_channel_is_a_queue": [wrappers.ReorderingLayer],
    "test_members_see_one_common_order": [broken.OneOrderEach],
    "test_send_many_keeps_its_order": [broken.ReversesMany],
    # 6
    "test_exactly_the_members_get_a_message": [wrappers.IgnoresDiscardLayer],
    "test_adding_and_discarding_twice_is_once": [broken.CountsAdds, wrappers.IgnoresDiscardLayer],
    "test_a_group_without_members_takes_messages": [broken.KeepsForEmptyGroups],
    "test_groups_overlap": [broken.MixesUpGroups],
    "test_a_plain_channel_can_be_a_member": [broken.NoPlainMembers],
    "test_after_flush_the_layer_is_empty": [broken.IgnoresFlush],
    "test_membership_lapses": [wrappers.IgnoresExpiryLayer],
    "test_membership_survives_an_expired_message": [broken.ForgetsMembersOnExpiry],
    "test_membership_ends_with_the_channel": [broken.IgnoresClose],
    # 7
    "test_a_plain_channel_is_a_bounded_queue": [broken.NoCapacity, wrappers.SilentlyFullLayer],
    "test_a_channel_of_this_process_is_a_bounded_queue": [
        broken.NoCapacity,
        wrappers.SilentlyFullLayer,
    ],
    "test_a_full_channel_does_not_fill_others": [broken.SharedCapacity],
    "test_channel_capacity_of_the_first_matching_glob": [broken.NoCapacity, CHANNELS_OWN],
    "test_group_send_drops_only_for_the_full_member": [broken.NoCapacity],
    "test_drop_new_keeps_the_oldest": [broken.OtherOverflow],
    "test_drop_old_keeps_the_newest": [broken.OtherOverflow],
    "test_send_many_sends_what_fits": [broken.NoCapacity],
    "test_drops_are_counted": [broken.CountsNoDrops],
    "test_drops_are_logged_at_a_limited_rate": [CHANNELS_OWN],
    # 8
    "test_old_messages_are_never_delivered": [wrappers.IgnoresExpiryLayer],
    "test_expired_messages_make_room": [wrappers.IgnoresExpiryLayer],
    # 9
    "test_cancelling_receive_loses_nothing": [wrappers.LosesOnCancelLayer],
    "test_cancelling_many_channels_loses_nothing": [wrappers.LosesOnCancelLayer],
    "test_a_cancelled_reader_does_not_orphan_another": [
        wrappers.LosesOnCancelLayer,
        CHANNELS_OWN,
    ],
    "test_two_readers_share_all_messages": [CHANNELS_OWN],
    "test_a_reader_cancelled_before_it_ran": [broken.TakesBeforeItRuns],
    "test_an_idle_receive_waits_for_ever": [broken.GivesUp],
    # 10
    "test_a_reader_in_another_loop_is_woken": [broken.OneLoop, CHANNELS_OWN],
    "test_senders_in_many_loops": [broken.OneLoop],
    "test_readers_in_many_loops": [broken.OneLoop],
    "test_a_busy_channel_starves_no_quiet_one": [broken.StarvesQuietChannels],
    "test_async_to_sync_from_plain_threads": [broken.OneLoop],
    "test_no_connection_per_call": [broken.OpensConnections],
    "test_blocking_verbs_in_threads": [broken.BrokenSync],
    "test_blocking_verbs_refuse_to_block_a_loop": [broken.BrokenSync],
    "test_a_layer_needs_no_loop_to_be_made": [broken.NeedsLoop],
    "test_a_layer_works_after_fork": [broken.OneProcess],
    # 13
    "test_closed_channels_leave_nothing": [broken.IgnoresClose],
    "test_vanished_channels_leave_nothing": [broken.Hoards],
    "test_memory_does_not_grow_with_connections": [broken.Hoards],
    "test_memory_does_not_grow_with_vanished_connections": [broken.Hoards],
    "test_memory_does_not_grow_with_plain_channels": [broken.Hoards],
    "test_a_closed_layer_leaves_no_task_thread_or_connection": [broken.LeavesTasks],
    "test_closing_ends_what_waits": [broken.IgnoresClose],
    # extensions
    "test_history_is_the_last_messages": [broken.ClaimsToBeWhole],
    "test_delivered_messages_carry_their_position": [broken.NoPositions],
    "test_what_was_missed_comes_or_is_said_to_be_lost": [broken.ClaimsToBeWhole],
    "test_a_strange_position_is_not_recovered": [broken.ClaimsToBeWhole],
    "test_a_flush_begins_a_new_epoch": [broken.ClaimsToBeWhole],
    "test_other_groups_have_no_history": [broken.ClaimsToBeWhole],
    "test_history_forgets_by_age": [broken.OtherHistoryAge],
    "test_history_is_not_bound_by_expiry": [broken.OtherHistoryAge],
    "test_group_channels_is_the_set_of_members": [broken.ForgetsAMember],
    # together
    "test_any_sequence_of_verbs_does_what_the_model_says": [
        wrappers.DoublingLayer,
        wrappers.IgnoresDiscardLayer,
        wrappers.LosesOnCancelLayer,
    ],
    "test_the_same_history_ends_the_same": [wrappers.DoublingLayer],
}

ON_A_BROKER = {
    "test_prefixes_never_meet",
    "test_nothing_is_delivered_again_to_a_new_instance",
    "test_readers_in_several_processes_compete",
    "test_a_process_that_starts_gets_nothing_again",
    "test_all_processes_see_one_common_order",
    "test_a_wrong_clock_changes_no_order",
    "test_channels_of_other_processes_join_and_leave",
    "test_membership_ends_with_the_process",
    "test_a_wrong_clock_loses_nothing",
    "test_group_channels_of_all_processes",
    "test_garbage_is_dropped",
    "test_a_message_with_another_key_is_dropped",
    "test_keys_can_be_rotated",
    "test_a_waiting_receive_survives_a_cut",
    "test_cuts_lose_nothing_and_double_nothing",
    "test_what_was_sent_meanwhile_is_caught_up",
    "test_sends_say_when_the_broker_is_away",
    "test_a_paused_broker_is_waited_for",
    "test_a_restarted_broker_is_found_again",
    "test_lost_memory_is_announced",
    "test_a_recovery_over_a_restart_is_whole_or_says_it_is_not",
}
"""Laws about several processes and brokers: see test_laws_on_redis.py."""


def laws_by_name() -> dict[str, Law]:
    """All laws."""
    return {
        name: getattr(cls(), name).__func__
        for cls in all_laws().values()
        for name in dir(cls)
        if name.startswith("test_")
    }


def under(breaker: type | str) -> LayerUnderTest:
    """A broken layer, judged in a hurry."""
    dotted = breaker if isinstance(breaker, str) else f"{breaker.__module__}.{breaker.__name__}"
    own = dotted == CHANNELS_OWN
    return LayerUnderTest(
        dotted,
        distributed=False,
        expiry=1 if own else 0.2,
        patience=0.5,
        examples=30,
        shrink_seconds=0,
    )


@pytest.fixture(autouse=True)
def _close_what_layers_leave() -> Iterator[None]:
    yield
    for ends in broken.OpensConnections.opened:
        for end in ends:
            os.close(end)
    broken.OpensConnections.opened.clear()
    broken.LeavesTasks.tasks.clear()


def test_every_law_is_shown_to_fail_somewhere() -> None:
    assert laws_by_name().keys() == BREAKERS.keys() | ON_A_BROKER


@pytest.mark.parametrize(
    ("law", "breaker"),
    [
        pytest.param(law, breaker, id=f"{law}-{getattr(breaker, '__name__', breaker)}")
        for law, breakers in BREAKERS.items()
        for breaker in breakers
    ],
)
def test_a_broken_layer_is_caught(law: str, breaker: type | str) -> None:
    cls = next(cls for cls in all_laws().values() if hasattr(cls, law))
    test = getattr(cls(), law)
    more = (under(CHANNELS_OWN),) if law == "test_the_same_history_ends_the_same" else ()
    failures = (Exception, ExceptionGroup, pytest.fail.Exception)
    with pytest.raises(failures) as caught:
        test(under(breaker), *more)
    assert not isinstance(caught.value, pytest.skip.Exception)
