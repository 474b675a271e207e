//! One suite, every transport. Each test is named for the property that it checks.
//!
//! A transport over sockets joins the suite with one line at the end of this file: where it is, why it
//! cannot be had on this machine if so, and whether what it receives stays where the kernel put it.

use quorumbench_transports::Mesh;
use quorumbench_transports::mem::Mem;
use quorumbench_transports::quic::Quic;
use quorumbench_transports::tokio_tcp::TokioTcp;
use quorumbench_transports::uring::Uring;

mod accounting;
mod delivery;
mod files;
mod harness;
mod hostile;
mod order;
mod pressure;
mod quic_lives;
mod quic_only;
mod quic_paths;
mod raw;
mod raw_quic;
mod reconnect;
#[path = "../support/relay.rs"]
mod relay;
mod shaped;
mod stream;
mod uring_6_1;
mod waiting;

use harness::{InMemory, OverSockets, bounded};
use shaped::Shaped;
use uring_6_1::Uring61;

/// Runs each test in a thread of its own, on which its nodes are made, and fails it if it hangs. Where
/// the subject cannot be had, the test says why and passes.
macro_rules! tests {
    ($subject:ty: $($topic:ident::$test:ident,)*) => {
        $(#[test] fn $test() { crate::bounded(missing(), crate::$topic::$test::<$subject>); })*
    };
}

/// What holds for every transport.
macro_rules! every_transport {
    ($subject:ty) => {
        tests! { $subject:
            delivery::frames_arrive_once_and_in_order,
            delivery::each_node_may_have_a_thread_of_its_own,
            delivery::heads_arrive_as_they_were_sent,
            delivery::payloads_of_any_length_arrive,
            delivery::frames_may_straddle_chunks,
            delivery::a_broadcast_shares_one_payload,
            waiting::without_frames_it_waits_for_the_deadline,
            waiting::a_frame_ends_the_wait,
            waiting::short_deadlines_are_kept,
            waiting::a_ping_pong_under_short_deadlines_does_not_wait_for_them,
            accounting::what_is_sent_is_received,
            files::what_is_written_is_in_the_file,
            files::an_aligned_block_is_written_directly,
            files::thousands_of_writes_are_each_over_once,
            files::a_write_that_is_over_ends_the_wait,
            files::what_is_over_waits_to_be_taken,
            files::frames_go_on_while_a_slow_write_is_under_way,
            files::an_error_is_told_of_its_write_and_no_other,
            files::a_node_may_leave_with_writes_under_way,
        }
    };
}

/// What holds where all that is sent has left with the next wait: over all but emulated links.
macro_rules! at_once {
    ($subject:ty) => {
        tests! { $subject:
            pressure::a_receiver_that_does_not_read_holds_up_nobody,
            pressure::a_peer_that_never_stops_does_not_drown_the_others,
            waiting::a_deadline_in_the_past_only_looks,
            accounting::frames_to_nobody_are_dropped_and_counted,
        }
    };
}

/// What holds unless the kernel gives up a whole buffer for the smallest receive.
macro_rules! in_place {
    ($subject:ty $(, $transport:ty)?) => {
        tests! { $subject: delivery::payloads_are_not_copied, }
        $(tests! { $transport: accounting::small_payloads_are_copied_and_counted, })?
    };
}

/// What only a transport over sockets has: connections to lose, a port for strangers to knock at, and
/// chunks to receive into. None of that exists in `mem`.
macro_rules! over_sockets {
    (
        $name:ident, $transport:ty, missing: $missing:expr,
        raw: $raw:ty, copies: $copies:expr, least_chunk: $least_chunk:expr $(, $group:ident)*
    ) => {
        mod $name {
            fn missing() -> Option<String> {
                $missing
            }
            type Subject = crate::OverSockets<$transport>;
            impl crate::harness::Socketed for $transport {
                type Raw = $raw;
                const COPIES: u64 = $copies;
                const LEAST_CHUNK_BYTES: usize = $least_chunk;
                fn join(mesh: crate::Mesh) -> std::io::Result<Self> {
                    // The type's own method, which goes before this trait's.
                    <$transport>::join(mesh)
                }
                fn chunks_out(&mut self) -> usize {
                    <$transport>::chunks_out(self)
                }
            }
            every_transport! { Subject }
            at_once! { Subject }
            $($group! { Subject, $transport })*
            tests! { $transport:
                stream::it_arrives_intact_and_in_order,
                stream::it_arrives_through_chunks_shorter_than_its_frames,
                stream::it_arrives_by_spinning_and_by_zero_copy,
                accounting::a_hello_is_nobody_s_frame,
                accounting::every_chunk_comes_home,
                accounting::a_pool_too_small_for_the_longest_frame_is_an_error,
                pressure::an_empty_pool_stops_reading,
                pressure::a_chunk_that_comes_home_ends_the_wait,
                reconnect::a_listener_that_comes_back_is_dialled_again,
                reconnect::a_dialler_that_comes_back_is_accepted_again,
                reconnect::a_newer_connection_replaces_the_older,
                reconnect::what_was_queued_for_a_lost_connection_is_counted,
                reconnect::a_node_that_leaves_closes_its_connections,
                reconnect::a_node_may_leave_in_the_middle_of_a_write,
                order::clients_are_written_to_before_replicas,
                hostile::random_bytes_are_no_hello,
                hostile::a_hello_must_be_of_this_run_and_version,
                hostile::nobody_may_take_an_id_that_is_not_theirs,
                hostile::half_a_hello_and_then_silence_is_no_hello,
                hostile::many_silent_connections_do_not_keep_peers_out,
                hostile::a_length_beyond_the_limit_is_malformed,
                hostile::a_second_hello_is_malformed,
                hostile::a_frame_in_another_s_name_is_malformed,
                hostile::random_frames_disturb_nobody,
            }
        }
    };
    // Over TCP, unless it is said otherwise.
    ($name:ident, $transport:ty, missing: $missing:expr $(, $group:ident)*) => {
        over_sockets! {
            $name, $transport, missing: $missing,
            raw: crate::raw::RawTcp, copies: 0, least_chunk: 1, over_tcp $(, $group)*
        }
    };
}

/// What is about TCP: its congestion control, its options, and who answers a connection that the kernel
/// has made. (`quic` has its own tests of who answers.)
macro_rules! over_tcp {
    ($subject:ty, $transport:ty) => {
        tests! { $transport:
            accounting::an_unknown_congestion_control_is_an_error,
            reconnect::what_is_accepted_is_tuned_whenever_it_was_dialled,
            reconnect::whoever_does_not_answer_is_dialled_less_and_less_often,
            hostile::a_dialled_node_must_answer_in_its_own_name,
        }
    };
}

/// What is about QUIC.
macro_rules! over_quic {
    ($subject:ty, $transport:ty) => {
        tests! { $transport:
            quic_only::who_has_no_certificate_of_the_run_is_a_stranger,
            quic_only::who_speaks_another_version_is_a_stranger,
            quic_only::a_certificate_is_good_for_one_name,
            quic_only::a_dialled_stranger_is_one_too,
            quic_only::a_peer_that_comes_back_with_new_keys_is_known_again,
            quic_only::silence_is_the_end_of_a_connection,
            quic_only::a_quiet_connection_is_kept_alive,
            quic_only::garbage_disturbs_nobody,
            quic_only::a_full_window_holds_up_its_sender_alone,
            quic_only::payloads_are_slices_of_what_was_received,
            quic_only::every_cipher_and_congestion_control_carries_frames,
            quic_only::a_node_without_credentials_is_an_error,
            quic_lives::who_died_without_a_word_is_dialled_again_at_once,
            quic_lives::a_reset_of_another_s_making_is_not_believed,
            quic_lives::resets_are_few_and_die_out,
            quic_paths::what_is_lost_or_late_comes_all_the_same,
            quic_paths::a_peer_whose_address_changes_stays_connected,
            quic_paths::a_cut_path_is_a_lost_connection,
            quic_paths::a_peer_that_comes_back_with_foreign_keys_is_refused,
            quic_paths::what_is_lost_holds_up_its_stream_alone,
            quic_paths::a_lost_datagram_holds_up_nothing_and_does_not_come,
            quic_paths::each_group_keeps_its_order,
            quic_paths::a_frame_too_long_for_a_datagram_arrives,
            quic_paths::what_a_busy_node_sends_goes_together,
            quic_paths::datagrams_beyond_what_a_link_holds_are_dropped_and_counted,
        }
    };
}

mod mem {
    fn missing() -> Option<String> {
        None
    }
    type Subject = crate::InMemory;
    every_transport! { Subject }
    at_once! { Subject }
    in_place! { Subject }
}

over_sockets! { tokio_tcp, crate::TokioTcp, missing: None, in_place }
over_sockets! {
    quic, crate::Quic, missing: None,
    raw: crate::raw_quic::RawQuic, copies: 1, least_chunk: 256 << 10, over_quic
}
over_sockets! { uring, crate::Uring, missing: crate::uring_6_1::no_ring(), in_place }
over_sockets! { uring_as_on_linux_6_1, crate::Uring61, missing: crate::uring_6_1::no_ring() }

/// Emulated links stand on any transport, and are one themselves, of which each node must be waited on.
macro_rules! shaped {
    ($name:ident, $subject:ty, missing: $missing:expr) => {
        mod $name {
            fn missing() -> Option<String> {
                $missing
            }
            type Subject = crate::Shaped<$subject>;
            every_transport! { Subject }
            #[test]
            fn nothing_is_early() {
                crate::bounded(missing(), crate::shaped::nothing_is_early::<$subject>);
            }
        }
    };
}

shaped! { shaped_mem, crate::InMemory, missing: None }
shaped! { shaped_quic, crate::OverSockets<crate::Quic>, missing: None }
shaped! { shaped_uring, crate::OverSockets<crate::Uring>, missing: crate::uring_6_1::no_ring() }
