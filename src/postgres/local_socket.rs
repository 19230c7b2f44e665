//! A unix socket that wakes its task only for what comes in.
//!
//! The kernel calls a unix socket writable anew each time the other side has read something. Whoever waits for both, as tokio's own sockets do, is
//! woken twice a statement: once because the server has taken it, once because it has answered. Here only a socket that was full waits to be written.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::UnixStream;

pub struct LocalSocket {
    readable: AsyncFd<OwnedFd>,
    /// The same socket, once it has been full.
    writable: Option<AsyncFd<OwnedFd>>,
    /// The thread may wait for an answer itself: it has nothing else to do.
    alone: bool,
    /// Something was sent, and nothing has come since.
    asked: bool,
}

/// How long a thread waits for an answer before it looks after what else there is.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

impl LocalSocket {
    pub async fn connect(path: &Path, alone: bool) -> io::Result<Self> {
        let socket = UnixStream::connect(path).await?.into_std()?;
        LocalSocket::new(socket.into(), alone)
    }

    fn new(socket: OwnedFd, alone: bool) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(LocalSocket { readable: register(socket, Interest::READABLE)?, writable: None, alone, asked: false })
    }
}

impl LocalSocket {
    fn send(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let sent = rustix::net::send(self.readable.get_ref(), bytes, SendFlags::NOSIGNAL)?;
        self.asked = true;
        Ok(sent)
    }
}

/// Into the buffer's free room; how many bytes there were, 0 at the end.
fn receive(socket: &OwnedFd, buffer: &mut ReadBuf<'_>) -> Result<usize, Errno> {
    // SAFETY: `recv` writes to it and reads nothing of it.
    let room: &mut [MaybeUninit<u8>] = unsafe { buffer.unfilled_mut() };
    let ((filled, _), _) = rustix::net::recv(socket, room, RecvFlags::empty())?;
    let count = filled.len();
    // SAFETY: `recv` has filled so many bytes.
    unsafe { buffer.assume_init(count) };
    buffer.advance(count);
    Ok(count)
}

fn register(socket: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is owned, valid, and neither replaced nor closed before the AsyncFd drops it.
    unsafe { AsyncFd::register_with_interest(socket, interest) }.map_err(Into::into)
}

impl AsyncRead for LocalSocket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let asked = std::mem::take(&mut self.asked);
        if asked && self.alone {
            // To wait for the answer here spares the runtime its round. Not in `recv`, which wakes whenever the socket can be written, too.
            let answered = rustix::event::poll(&mut [PollFd::new(self.readable.get_ref(), PollFlags::IN)], Some(&PATIENCE));
            if answered == Ok(1) {
                match receive(self.readable.get_ref(), buffer) {
                    Ok(_) => return Poll::Ready(Ok(())),
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
        }
        loop {
            let mut ready = ready!(self.readable.poll_read_ready(context))?;
            let room = buffer.remaining();
            match receive(ready.get_inner(), buffer) {
                Ok(count) => {
                    if 0 < count && count < room {
                        // It is empty now: what comes next is told of by the next event.
                        ready.clear_ready();
                    }
                    return Poll::Ready(Ok(()));
                }
                Err(Errno::AGAIN) => ready.clear_ready(),
                Err(Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }
}

impl AsyncWrite for LocalSocket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.send(bytes) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    if self.writable.is_none() {
                        let again = self.readable.get_ref().try_clone()?;
                        self.writable = Some(register(again, Interest::WRITABLE)?);
                    }
                    let Some(writable) = &self.writable else { unreachable!("made just now") };
                    ready!(writable.poll_write_ready(context))?.clear_ready();
                    // Between the attempt and now it may have become free.
                    match self.send(bytes) {
                        Err(Errno::AGAIN | Errno::INTR) => {}
                        sent => return Poll::Ready(sent.map_err(Into::into)),
                    }
                }
                sent => return Poll::Ready(sent.map_err(Into::into)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(self.readable.get_ref(), Shutdown::Write).map_err(Into::into))
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_full_socket_waits_and_everything_arrives() {
        for alone in [false, true] {
            echoed(alone).await;
        }
    }

    async fn echoed(alone: bool) {
        let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut socket = LocalSocket::new(ours.into(), alone).unwrap();
        // Far more than a socket holds, both ways.
        let sent: Vec<u8> = (0..4_000_000u32).map(|at| (at % 251) as u8).collect();
        let expected = sent.clone();
        let echo = std::thread::spawn(move || {
            let mut got = vec![0; 4_000_000];
            theirs.read_exact(&mut got).unwrap();
            theirs.write_all(&got).unwrap();
        });
        socket.write_all(&sent).await.unwrap();
        assert!(socket.writable.is_some(), "it never was full");
        let mut got = Vec::new();
        socket.read_to_end(&mut got).await.unwrap();
        assert!(got == expected);
        echo.join().unwrap();
    }
}
