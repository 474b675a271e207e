//! One suite, every transport. Each test is named for the property that it checks.
//!
//! A transport over sockets joins the suite with one line at the end of this file.

use quorumbench_transports::Mesh;
use quorumbench_transports::mem::Mem;
use quorumbench_transports::tokio_tcp::TokioTcp;

mod accounting;
mod delivery;
mod harness;
mod hostile;
mod pressure;
mod raw;
mod reconnect;
mod waiting;

use harness::{InMemory, OverSockets, bounded};

/// Runs each test in a thread of its own, on which its nodes are made, and fails it if it hangs.
macro_rules! tests {
    ($subject:ty: $($topic:ident::$test:ident,)*) => {
        $(#[test] fn $test() { crate::bounded(crate::$topic::$test::<$subject>); })*
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
            delivery::payloads_are_not_copied,
            pressure::a_receiver_that_does_not_read_holds_up_nobody,
            pressure::a_peer_that_never_stops_does_not_drown_the_others,
            waiting::without_frames_it_waits_for_the_deadline,
            waiting::a_deadline_in_the_past_only_looks,
            waiting::a_frame_ends_the_wait,
            waiting::short_deadlines_are_kept,
            waiting::a_ping_pong_under_short_deadlines_does_not_wait_for_them,
            accounting::what_is_sent_is_received,
            accounting::frames_to_nobody_are_dropped_and_counted,
        }
    };
}

/// What only a transport over sockets has: connections to lose, a port for strangers to knock at, and
/// chunks to receive into. None of that exists in `mem`.
macro_rules! over_sockets {
    ($name:ident, $transport:ty) => {
        mod $name {
            type Subject = crate::OverSockets<$transport>;
            impl crate::harness::Socketed for $transport {
                fn join(mesh: crate::Mesh) -> std::io::Result<Self> {
                    // The type's own method, which goes before this trait's.
                    <$transport>::join(mesh)
                }
                fn chunks_out(&mut self) -> usize {
                    <$transport>::chunks_out(self)
                }
            }
            every_transport! { Subject }
            tests! { $transport:
                accounting::small_payloads_are_copied_and_counted,
                accounting::a_hello_is_nobody_s_frame,
                accounting::every_chunk_comes_home,
                accounting::an_unknown_congestion_control_is_an_error,
                pressure::an_empty_pool_stops_reading,
                pressure::a_chunk_that_comes_home_ends_the_wait,
                reconnect::a_listener_that_comes_back_is_dialled_again,
                reconnect::a_dialler_that_comes_back_is_accepted_again,
                reconnect::a_newer_connection_replaces_the_older,
                reconnect::what_was_queued_for_a_lost_connection_is_counted,
                reconnect::a_node_that_leaves_closes_its_connections,
                reconnect::whoever_does_not_answer_is_dialled_less_and_less_often,
                hostile::random_bytes_are_no_hello,
                hostile::a_hello_must_be_of_this_run_and_version,
                hostile::nobody_may_take_an_id_that_is_not_theirs,
                hostile::a_dialled_node_must_answer_in_its_own_name,
                hostile::half_a_hello_and_then_silence_is_no_hello,
                hostile::many_silent_connections_do_not_keep_peers_out,
                hostile::a_length_beyond_the_limit_is_malformed,
                hostile::a_second_hello_is_malformed,
                hostile::a_frame_in_another_s_name_is_malformed,
                hostile::random_frames_disturb_nobody,
            }
        }
    };
}

mod mem {
    type Subject = crate::InMemory;
    every_transport! { Subject }
}

over_sockets! { tokio_tcp, crate::TokioTcp }
