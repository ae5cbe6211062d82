//! Connections: so many at once, none that does nothing for ever, no delay for small
//! answers.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// Most connections at once; below the usual limit of 1024 open files, which the indexes
/// share. Further ones wait in the system's queue.
const MAX_CONNECTIONS: usize = 512;

/// Accepts connections within bounds.
pub(super) struct Connections {
    listener: TcpListener,
    room: Arc<Semaphore>,
    idle: Duration,
}

impl Connections {
    /// Closes connections on which nothing moved for `idle`. That has to be longer than
    /// a request may take: while one is worked on, nothing moves.
    pub(super) fn new(listener: TcpListener, idle: Duration) -> Connections {
        Connections {
            listener,
            room: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
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
        let mut connections = Connections::new(listener, Duration::from_millis(60));
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
