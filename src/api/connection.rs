//! Connections: so many at once, none that does nothing for ever, no delay for small
//! answers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Open files that connections leave to the indexes, beside a quarter of all that may be open.
const OTHER_FILES: u64 = 256;

/// How many connections there may be: so many, or what the system's limit on open files, which is
/// raised as far as it may be, leaves.
pub(super) fn most_connections(wanted: usize) -> usize {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = rustix::process::Rlimit {
            current: limit.maximum,
            ..limit
        };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let Some(files) = limit.current else {
        return wanted;
    };
    let left = (files - files / 4).saturating_sub(OTHER_FILES).max(16);
    wanted.min(usize::try_from(left).unwrap_or(usize::MAX))
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer(pub SocketAddr);

impl Connected<IncomingStream<'_, Connections>> for Peer {
    fn connect_info(stream: IncomingStream<'_, Connections>) -> Peer {
        Peer(*stream.remote_addr())
    }
}

/// Accepts connections within bounds.
pub(super) struct Connections {
    listener: TcpListener,
    room: Arc<Semaphore>,
    idle: Duration,
}

impl Connections {
    /// Accepts at most so many at once; further ones wait in the system's queue. Closes those on which nothing moved for `idle`. That has to be longer than
    /// a request may take: while one is worked on, nothing moves.
    pub(super) fn new(listener: TcpListener, most: usize, idle: Duration) -> Connections {
        Connections {
            listener,
            room: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            idle,
        }
    }
}

impl Listener for Connections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let Ok(room) = self.room.clone().acquire_owned().await else {
                // Never closed; were it, waiting is what is left to do.
                return std::future::pending().await;
            };
            let (stream, address) = Listener::accept(&mut self.listener).await;
            // Answers are written whole; waiting to fill a packet would only delay them.
            if let Err(error) = stream.set_nodelay(true) {
                // Happens when the peer is gone already.
                tracing::debug!(%address, %error, "a connection cannot be used");
                continue;
            }
            let connection = Connection {
                stream,
                idle: self.idle,
                moved: Instant::now(),
                alarm: Box::pin(tokio::time::sleep(self.idle)),
                _room: room,
            };
            return (connection, address);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once nothing has moved on it for a while.
pub(super) struct Connection {
    stream: TcpStream,
    idle: Duration,
    /// When something last moved.
    moved: Instant,
    /// Rings at `moved` plus `idle` or earlier: it is moved on only when it rings, since
    /// most connections move far more often.
    alarm: Pin<Box<Sleep>>,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    /// What to say in place of "nothing moved".
    fn still<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            ready!(self.alarm.as_mut().poll(cx));
            let end = self.moved + self.idle;
            if Instant::now() >= end {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.alarm.as_mut().reset(end);
        }
    }

    fn after<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_pending() {
            return self.still(cx);
        }
        self.moved = Instant::now();
        outcome
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.after(cx, outcome)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.after(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.after(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_connection_that_does_nothing_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Listener::local_addr(&listener).unwrap();
        let mut connections = Connections::new(listener, 4, Duration::from_millis(60));
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut server, _) = connections.accept().await;
        assert!(server.stream.nodelay().unwrap());
        let mut byte = [0];
        // What moves keeps it open, past the limit counted from the start.
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(25)).await;
            client.write_all(b"x").await.unwrap();
            assert_eq!(server.read(&mut byte).await.unwrap(), 1);
        }
        let error = server.read(&mut byte).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
