//! The upstream over TLS: authorities, host name, client certificate.

mod fake_broker;
mod upstream_engine;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fake_broker::{FakeBroker, Script};
use gateway::upstream::{ClientIdentity, TlsConfig, UpstreamConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use shared::wire::QoS;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};
use upstream_engine::{Engine, config, until};

/// An authority and what it has signed, as files.
struct Pki {
    dir: tempfile::TempDir,
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let authority = CertifiedIssuer::self_signed(params, key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
        Self { dir, authority }
    }

    fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    fn sign(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.authority).unwrap(), key)
    }

    fn identity(&self, name: &str) -> ClientIdentity {
        let (certificate, key) = self.sign(name);
        let cert_file = self.dir.path().join(format!("{name}.pem"));
        let key_file = self.dir.path().join(format!("{name}.key"));
        std::fs::write(&cert_file, certificate.pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        ClientIdentity {
            cert_file,
            key_file,
        }
    }

    fn acceptor(&self, name: &str, wants_client: bool) -> TlsAcceptor {
        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let (certificate, key) = self.sign(name);
        let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()))
    }
}

fn tls_config(
    broker: &FakeBroker,
    ca_file: &Path,
    client: Option<ClientIdentity>,
) -> UpstreamConfig {
    let mut config = config(broker);
    "localhost".clone_into(&mut config.host);
    config.tls = Some(TlsConfig {
        ca_file: Some(ca_file.to_owned()),
        client,
    });
    config
}

async fn assert_serves(config: &UpstreamConfig) {
    let mut engine = Engine::start(config, 0);
    engine.publish("t", QoS::AtLeastOnce, "x");
    engine.publish("t", QoS::ExactlyOnce, "x");
    engine.all_published().await;
}

async fn assert_refused(config: &UpstreamConfig, broker: &FakeBroker) {
    let mut engine = Engine::start(config, 0);
    engine.publish("t", QoS::AtLeastOnce, "x");
    until(|| engine.stats().failed_connects >= 3).await;
    assert_eq!(engine.stats().connects, 0);
    assert!(
        broker.record(|record| record.connects.is_empty()),
        "no CONNECT was sent"
    );
}

#[tokio::test]
async fn a_broker_of_a_known_authority_is_trusted() {
    let pki = Pki::new();
    let broker = FakeBroker::start_tls(Script::default(), pki.acceptor("localhost", false)).await;
    assert_serves(&tls_config(&broker, &pki.ca_file(), None)).await;
    let pki = Pki::new();
    let broker = FakeBroker::start_tls(Script::default(), pki.acceptor("127.0.0.1", false)).await;
    let mut by_address = tls_config(&broker, &pki.ca_file(), None);
    "127.0.0.1".clone_into(&mut by_address.host);
    assert_serves(&by_address).await;
}

#[tokio::test]
async fn a_broker_of_an_unknown_authority_is_not_trusted() {
    let (theirs, ours) = (Pki::new(), Pki::new());
    let broker =
        FakeBroker::start_tls(Script::default(), theirs.acceptor("localhost", false)).await;
    assert_refused(&tls_config(&broker, &ours.ca_file(), None), &broker).await;
}

#[tokio::test]
async fn a_broker_of_another_name_is_not_trusted() {
    let pki = Pki::new();
    let acceptor = pki.acceptor("broker.example", false);
    let broker = FakeBroker::start_tls(Script::default(), acceptor).await;
    assert_refused(&tls_config(&broker, &pki.ca_file(), None), &broker).await;
}

#[tokio::test]
async fn a_client_certificate_opens_what_is_closed_without() {
    let pki = Pki::new();
    let broker = FakeBroker::start_tls(Script::default(), pki.acceptor("localhost", true)).await;
    assert_refused(&tls_config(&broker, &pki.ca_file(), None), &broker).await;
    let identity = pki.identity("gateway");
    assert_serves(&tls_config(&broker, &pki.ca_file(), Some(identity))).await;
}

#[tokio::test]
async fn cuts_lose_nothing_over_tls_either() {
    let pki = Pki::new();
    let script = Script {
        cut_ppm: 20_000,
        ..Script::default()
    };
    let broker = FakeBroker::start_tls(script, pki.acceptor("localhost", false)).await;
    let mut engine = Engine::start(&tls_config(&broker, &pki.ca_file(), None), 0);
    for n in 0..200 {
        let qos = if n % 2 == 0 {
            QoS::AtLeastOnce
        } else {
            QoS::ExactlyOnce
        };
        engine.publish("t", qos, &n.to_string());
        if n % 20 == 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    engine.all_published().await;
    for n in 0..200 {
        let wanted = n.to_string();
        let times = broker.record(|record| {
            record
                .handed_on
                .iter()
                .filter(|(_, payload)| **payload == *wanted.as_bytes())
                .count()
        });
        assert!(times >= 1, "{n} is lost");
        assert!(
            n % 2 == 0 || times == 1,
            "{n} at QoS 2 arrived {times} times"
        );
    }
    assert!(engine.stats().disconnects > 0);
}
