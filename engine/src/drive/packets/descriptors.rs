//! Devices on their way from one process to another, over a pair of sockets.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use quorumbench_transports::tun::Tun;
use rustix::cmsg_space;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// The kernel takes no more at once (`SCM_MAX_FD`); a run has no more nodes.
const MOST: usize = 253;

/// Hands on devices, with one byte, without which nothing would be sent.
pub(super) fn send(stream: &UnixStream, devices: &[Tun]) -> io::Result<()> {
    let descriptors: Vec<_> = devices.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)), "a run has no more nodes");
    sendmsg(stream, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What was sent first. None, if that was something else.
pub(super) fn receive(stream: &UnixStream) -> io::Result<Vec<Tun>> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(MOST))];
    let (mut control, mut byte) = (RecvAncillaryBuffer::new(&mut space), [0]);
    recvmsg(stream, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let devices = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    Ok(devices.flatten().map(Tun::from).collect())
}
