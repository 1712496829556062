use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn any_payload_is_valid_settings_or_an_error(payload in prop::collection::vec(any::<u8>(), 0..96)) {
        if let Ok(settings) = Settings::from_payload(&payload) {
            prop_assert_eq!(settings.validate(), Ok(()));
            prop_assert!(settings.client_config().is_ok());
        }
    }
}

fn settings() -> Settings {
    Settings::new("pump-7").unwrap()
}

fn longest() -> Settings {
    let name = || {
        Some(Topic::Name(
            "t".repeat(TOPIC_NAME_LEN_MAX).as_str().try_into().unwrap(),
        ))
    };
    Settings {
        client_id: "c".repeat(CLIENT_ID_LEN_MAX).as_str().try_into().unwrap(),
        node_id: Some(Vec::from_slice(&[0xFF; NodeId::LEN_MAX]).unwrap()),
        reading_topic: name(),
        status_topic: name(),
        command_topic: name(),
        interval_s: *INTERVAL_S.end(),
        sleep_s: u16::MAX,
        keep_alive_s: u16::MAX,
        retry_ms: *RETRY_MS.end(),
        retries: u8::MAX,
        seed: u64::MAX,
        readings_limit: u32::MAX,
        commands_awaited: u32::MAX,
        radio: RadioSettings::Udp {
            gateway: [255; 4],
            port: u16::MAX,
            ssid: "s".repeat(32).as_str().try_into().unwrap(),
            password: Secret("p".repeat(64).as_str().try_into().unwrap()),
        },
        ..settings()
    }
}

#[test]
fn settings_read_back_from_their_record() {
    for settings in [settings(), longest()] {
        let mut buf = [0xFF; SETTINGS_RECORD_LEN_MAX];
        let len = settings.to_record(&mut buf).unwrap();
        assert!(len <= SETTINGS_RECORD_LEN_MAX);
        assert_eq!(Settings::from_record(&buf), Ok(settings));
    }
}

#[test]
fn an_erased_region_holds_no_settings() {
    assert_eq!(
        Settings::from_record(&[0xFF; 64]),
        Err(SettingsError::Record(RecordError::Absent))
    );
}

#[test]
fn topics_follow_the_client_id_unless_they_are_set() {
    let mut settings = settings();
    assert_eq!(
        settings.command_topic(),
        Topic::Name("cmd/pump-7".try_into().unwrap())
    );
    settings.command_topic = Some(Topic::Predefined(12));
    assert_eq!(settings.command_topic(), Topic::Predefined(12));
}

#[test]
fn every_bad_setting_is_named() {
    type Spoil = fn(&mut Settings);
    let cases: [(Spoil, SettingsError); 16] = [
        (|s| s.client_id.clear(), SettingsError::ClientId),
        (
            |s| s.client_id = "a\nb".try_into().unwrap(),
            SettingsError::ClientId,
        ),
        (|s| s.node_id = Some(Vec::new()), SettingsError::NodeId),
        (
            |s| s.reading_topic = Some(Topic::Name("a/+".try_into().unwrap())),
            SettingsError::ReadingTopic,
        ),
        (
            |s| s.status_topic = Some(Topic::Predefined(0)),
            SettingsError::StatusTopic,
        ),
        (
            |s| s.command_topic = Some(Topic::Short("a".try_into().unwrap())),
            SettingsError::CommandTopic,
        ),
        (|s| s.qos = 3, SettingsError::Qos),
        (|s| s.interval_s = 0, SettingsError::Interval),
        (|s| s.sleep_s = 0, SettingsError::Sleep),
        (|s| s.retry_ms = 9, SettingsError::Retry),
        (|s| s.mtu = 257, SettingsError::Mtu),
        (|s| s.mtu = 39, SettingsError::Mtu),
        (
            |s| {
                s.mtu = 64;
                s.command_topic = Some(Topic::Name("t".repeat(59).as_str().try_into().unwrap()));
            },
            SettingsError::Mtu,
        ),
        (
            |s| s.radio = RadioSettings::Serial { baud: 10 },
            SettingsError::Baud,
        ),
        (
            |s| {
                s.radio = RadioSettings::Udp {
                    gateway: [10, 0, 0, 1],
                    port: 0,
                    ssid: "field".try_into().unwrap(),
                    password: Secret::default(),
                }
            },
            SettingsError::Port,
        ),
        (
            |s| {
                s.radio = RadioSettings::Udp {
                    gateway: [10, 0, 0, 1],
                    port: 10_000,
                    ssid: String::new(),
                    password: Secret::default(),
                }
            },
            SettingsError::Ssid,
        ),
    ];
    for (spoil, error) in cases {
        let mut settings = settings();
        spoil(&mut settings);
        assert_eq!(settings.validate(), Err(error));
        assert_eq!(
            settings.to_record(&mut [0; SETTINGS_RECORD_LEN_MAX]),
            Err(error)
        );
    }
}

#[test]
fn passwords_are_not_printed() {
    let mut settings = settings();
    settings.radio = RadioSettings::Udp {
        gateway: [10, 0, 0, 1],
        port: 10_000,
        ssid: "field".try_into().unwrap(),
        password: Secret("hunter22".try_into().unwrap()),
    };
    assert!(!std::format!("{settings:?}").contains("hunter22"));
}

#[test]
fn the_protocol_machine_takes_the_settings() {
    let config = settings().client_config().unwrap();
    assert_eq!(config.client_id, "pump-7");
    assert_eq!(config.link.t_retry, Duration::from_secs(10));
}
