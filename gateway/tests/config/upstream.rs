//! The broker above, with its secrets and certificates.

use gateway::config::{Config, ConfigError, OverlappingSubscriptions};
use tempfile::TempDir;

use super::{parse, parse_in, problems, refused};

#[test]
fn the_upstream_is_checked_as_a_whole() {
    let upstream = |text: &str| format!("[upstream]\nurl = \"mqtt://h\"\n{text}\n");
    let lone = upstream("password = \"secret\"");
    refused(&lone, (3, 12), "upstream.password", &["needs a username"]);
    let order = problems(&upstream("reconnect_min = \"10s\"\nreconnect_max = \"1s\""));
    assert_eq!(order.len(), 2, "{order:?}");
    refused(
        "[upstream]\nurl = \"http://h\"\n",
        (2, 7),
        "upstream.url",
        &["neither mqtt:// nor mqtts://"],
    );
    refused(
        "[upstream]\nurl = \"mqtts://[::1]\"\n",
        (2, 7),
        "upstream.url",
        &["TLS needs a host name"],
    );
    refused(
        &upstream("ca_file = \"/nonexistent/ca.pem\""),
        (3, 11),
        "upstream.ca_file",
        &["/nonexistent/ca.pem", "No such file"],
    );
}

#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let folder = TempDir::new().unwrap();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, why) in [
        (fifo.to_str().unwrap(), "is no regular file"),
        ("/dev/null", "is no regular file"),
        (folder.path().to_str().unwrap(), "is a folder"),
    ] {
        for key in ["ca_file", "password_file"] {
            let source =
                format!("[upstream]\nurl = \"mqtts://h\"\nusername = \"u\"\n{key} = \"{path}\"\n");
            let path = path.to_owned();
            let judged = std::thread::spawn(move || {
                let place = (4, key.len() + 4);
                refused(&source, place, &format!("upstream.{key}"), &[&path, why]);
            });
            // Bounded, because who opens the pipe waits for ever.
            let start = std::time::Instant::now();
            while !judged.is_finished() {
                assert!(start.elapsed().as_secs() < 10, "{key} waits for a file");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            judged.join().unwrap();
        }
    }
}

#[test]
fn certificates_are_found_beside_the_file_and_belong_to_tls() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("gateway.toml");
    for name in ["ca.pem", "cert.pem", "key.pem"] {
        std::fs::write(folder.path().join(name), "-").unwrap();
    }
    let tls = "ca_file = \"ca.pem\"\nclient_cert_file = \"cert.pem\"\n";
    let whole = format!("[upstream]\nurl = \"mqtts://h\"\n{tls}client_key_file = \"key.pem\"\n");
    std::fs::write(&path, &whole).unwrap();
    let upstream = Config::load(&path).unwrap().upstream.unwrap();
    assert_eq!(upstream.ca_file, Some(folder.path().join("ca.pem")));
    let identity = upstream.client_identity.unwrap();
    assert_eq!(identity.cert_file, folder.path().join("cert.pem"));
    assert_eq!(identity.key_file, folder.path().join("key.pem"));

    let invalid = |source: &str| {
        std::fs::write(&path, source).unwrap();
        match Config::load(&path) {
            Err(ConfigError::Invalid(problems)) => problems,
            other => panic!("{other:?}"),
        }
    };
    let plain = invalid(&whole.replace("mqtts", "mqtt"));
    assert_eq!(plain.list.len(), 3, "{plain}");
    let half = invalid(&format!("[upstream]\nurl = \"mqtts://h\"\n{tls}"));
    assert!(half.to_string().contains("needs client_key_file"), "{half}");
    let start = format!("{}:4:20: upstream.client_cert_file: ", path.display());
    assert!(half.to_string().starts_with(&start), "{half}");
}

#[test]
fn the_password_comes_from_one_place_and_is_never_shown() {
    let upstream =
        |text: &str| format!("[upstream]\nurl = \"mqtt://h\"\nusername = \"u\"\n{text}\n");
    let password = |source: &str, environment: &[(&str, &str)]| {
        let upstream = parse_in(source, environment).unwrap().upstream.unwrap();
        upstream.password.map(|it| it.reveal().to_owned())
    };
    assert_eq!(password(&upstream(""), &[]), None);
    let own = upstream("password = \"own\"");
    assert_eq!(password(&own, &[]).unwrap(), "own");
    let over = [("SANDGROUSE_UPSTREAM_PASSWORD", "env"), ("MINE", "mine")];
    assert_eq!(password(&own, &over).unwrap(), "env");
    let named = upstream("password_env = \"MINE\"");
    assert_eq!(password(&named, &over[1..]).unwrap(), "mine");
    refused(
        &named,
        (4, 16),
        "upstream.password_env",
        &["no such variable"],
    );
    let two = upstream("password = \"own\"\npassword_env = \"MINE\"");
    let error = parse_in(&two, &over[1..]).unwrap_err().to_string();
    assert!(error.contains("only one of password"), "{error}");

    let folder = TempDir::new().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "from file\n").unwrap();
    let from_file = upstream(&format!("password_file = \"{}\"", file.display()));
    assert_eq!(password(&from_file, &[]).unwrap(), "from file");

    let shown = format!("{:?}", parse(&own).unwrap());
    assert!(!shown.contains("own"), "{shown}");
    let list = problems(&upstream("password = 4711"));
    assert!(!list[0].to_string().contains("4711"), "{}", list[0]);
}

#[test]
fn overlapping_subscriptions_are_told_apart_unless_said_otherwise() {
    let upstream = |text: &str| {
        let config = parse(&format!("[upstream]\nurl = \"mqtt://h\"\n{text}\n"));
        config.unwrap().upstream.unwrap().overlapping
    };
    assert_eq!(upstream(""), OverlappingSubscriptions::Each);
    let set = |word| upstream(&format!("overlapping_subscriptions = \"{word}\""));
    assert_eq!(set("each"), OverlappingSubscriptions::Each);
    assert_eq!(set("single"), OverlappingSubscriptions::Single);
    refused(
        "[upstream]\nurl = \"mqtt://h\"\noverlapping_subscriptions = \"both\"\n",
        (3, 29),
        "upstream.overlapping_subscriptions",
        &["\"each\" or \"single\""],
    );
}
