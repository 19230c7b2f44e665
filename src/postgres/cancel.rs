//! Cancelling a query without harming the pooler that carries it.
//!
//! A client that sends its request and closes at once kills PgBouncer 1.18 for everyone (pgbouncer#801, fixed in 1.19.1): the request must
//! stay open until the other side has closed it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio_postgres::config::Host;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, NoTls};

use crate::postgres::{Address, connector};

/// How long the other side may take to close.
const LIMIT: Duration = Duration::from_secs(1);

/// Asks the server to stop what this client runs, and returns when the server has taken the request. For connections without a pooler;
/// behind one, a statement timeout is what stops a query. The request is encrypted where the connection is.
pub async fn cancel(client: &Client, address: &Address) -> Result<()> {
    let token = client.cancel_token();
    let work = async {
        let port = address.config.get_ports().first().copied().unwrap_or(5432);
        let named = address.config.get_hosts().first();
        let by_number = address.config.get_hostaddrs().first().map(|ip| Host::Tcp(ip.to_string()));
        match by_number.as_ref().or(named) {
            Some(Host::Tcp(host)) => {
                let stream = TcpStream::connect((host.as_str(), port)).await.context("connect to cancel a query")?;
                // TLS takes the stream as its own: the socket is held open by a second handle of it.
                let stream = stream.into_std()?;
                let held = TcpStream::from_std(stream.try_clone()?)?;
                // A certificate is for the name, where there is one.
                let name = match named {
                    Some(Host::Tcp(name)) => name.as_str(),
                    _ => host.as_str(),
                };
                let Ok(tls) = MakeTlsConnect::<Held<TcpStream>>::make_tls_connect(&mut connector(address)?, name);
                token.cancel_query_raw(Held(TcpStream::from_std(stream)?), tls).await.context("cancel a query")?;
                Held(held).until_closed().await
            }
            #[cfg(unix)]
            Some(Host::Unix(folder)) => {
                let socket = folder.join(format!(".s.PGSQL.{port}"));
                let mut held = Held(UnixStream::connect(socket).await.context("connect to cancel a query")?);
                token.cancel_query_raw(&mut held, NoTls).await.context("cancel a query")?;
                held.until_closed().await
            }
            _ => bail!("the address names no host"),
        }
    };
    tokio::time::timeout(LIMIT, work).await.context("the server did not answer a request to cancel")?
}

/// A stream whose shutdown does nothing.
struct Held<S>(S);

impl<S: AsyncRead + Unpin> Held<S> {
    async fn until_closed(&mut self) -> Result<()> {
        let mut rest = [0; 64];
        loop {
            match self.0.read(&mut rest).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // Closed as well: over TLS the server has not read our last word.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                Err(error) => return Err(error).context("wait until the request is taken"),
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Held<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Held<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
