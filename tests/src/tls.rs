//! https for tests: an authority of their own, made by `openssl`, and a server that speaks TLS in
//! front of a [`Server`].

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::machine::run;
use crate::server::Server;

/// A certificate authority that nobody knows.
#[derive(Debug)]
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes one in a directory of its own.
    pub fn new(folder: &Path) -> Authority {
        fs::create_dir(folder).unwrap_or_else(|e| panic!("no {}: {e}", folder.display()));
        let authority = Authority { folder: folder.to_owned() };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
             -subj /CN=Authority -keyout ca.key -out ca.pem",
        );
        authority
    }

    /// Its certificate, as `Acquire::https::CAInfo` takes it.
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Certificate and key of a server at this IP address.
    fn server(&self, address: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let name = self.folder.join("name");
        fs::write(name, format!("subjectAltName=IP:{address}\n"))
            .unwrap_or_else(|e| panic!("cannot write: {e}"));
        for arguments in [
            "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=Server \
             -keyout key.pem -out server.csr",
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile name -outform DER -out server.der",
            "pkcs8 -topk8 -nocrypt -in key.pem -outform DER -out key.der",
        ] {
            self.openssl(arguments);
        }
        let read = |name: &str| {
            fs::read(self.folder.join(name)).unwrap_or_else(|e| panic!("no {name}: {e}"))
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(read("key.der")));
        (CertificateDer::from(read("server.der")), key)
    }

    fn openssl(&self, arguments: &str) {
        run(Command::new("openssl").args(arguments.split_whitespace()).current_dir(&self.folder));
    }
}

/// What a [`Server`] has, over TLS. It stops when it is dropped.
#[derive(Debug)]
pub struct Https {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl Https {
    /// Listens on a free port of 127.0.0.1 with a certificate of the authority.
    pub fn in_front_of(server: &Server, authority: &Authority) -> Https {
        let (certificate, key) = authority.server("127.0.0.1");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config.with_no_client_auth().with_single_cert(vec![certificate], key)
            })
            .unwrap_or_else(|e| panic!("openssl's certificate cannot be used: {e}"));
        let listener = TcpListener::bind(("127.0.0.1", 0))
            .unwrap_or_else(|e| panic!("cannot listen on 127.0.0.1: {e}"));
        let address = listener.local_addr().unwrap_or_else(|e| panic!("no address: {e}"));
        let (ended, behind) = (Arc::new(AtomicBool::new(false)), server.address());
        let (config, flag) = (Arc::new(config), Arc::clone(&ended));
        let acceptor = std::thread::spawn(move || {
            let mut connections = Vec::new();
            for stream in listener.incoming().flatten() {
                if flag.load(Ordering::SeqCst) {
                    break;
                }
                let (config, flag) = (Arc::clone(&config), Arc::clone(&flag));
                connections.push(std::thread::spawn(move || {
                    // a client that does not like the certificate goes away
                    let _ = relay(stream, config, behind, &flag);
                }));
            }
            for connection in connections {
                let _ = connection.join();
            }
        });
        Https { address, ended, acceptor: Some(acceptor) }
    }

    /// `https://127.0.0.1:PORT`, without a slash at the end.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // the acceptor sees the flag with its next connection
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// Carries bytes in turns; a turn ends when nothing has come for a moment.
fn relay(
    client: TcpStream,
    config: Arc<ServerConfig>,
    behind: SocketAddr,
    ended: &AtomicBool,
) -> io::Result<()> {
    let moment = Some(Duration::from_millis(5));
    let mut server = TcpStream::connect(behind)?;
    server.set_read_timeout(moment)?;
    client.set_read_timeout(moment)?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut client = StreamOwned::new(connection, client);
    while !ended.load(Ordering::SeqCst) {
        let open = carry(&mut client, &mut server)? && carry(&mut server, &mut client)?;
        if !open {
            break;
        }
    }
    client.conn.send_close_notify();
    let _ = client.flush();
    let _ = client.sock.shutdown(Shutdown::Both);
    Ok(())
}

/// Carries what is there; false at the end of it.
fn carry(from: &mut impl Read, to: &mut impl Write) -> io::Result<bool> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                to.flush()?;
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(true);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}
