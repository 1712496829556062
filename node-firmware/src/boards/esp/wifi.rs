//! UDP over Wi-Fi.

use core::net::Ipv4Addr;

use app::Radio;
use app::settings::DATAGRAM_LEN_MAX;
use embassy_executor::Spawner;
use embassy_net::udp::{PacketMetadata, RecvError, UdpSocket};
use embassy_net::{IpAddress, IpEndpoint, Runner, Stack, StackResources};
use embassy_time::{Duration, with_timeout};
use esp_hal::peripherals::WIFI;
use esp_hal::rng::Rng;
use esp_radio::wifi::sta::StationConfig;
use esp_radio::wifi::{
    AuthenticationMethodConfig, Config, ControllerConfig, Interface, WifiController,
};
use static_cell::{ConstStaticCell, StaticCell};

/// A UDP socket to one gateway, over a network that is joined at each wake.
pub(super) struct WifiRadio {
    device: WIFI<'static>,
    station: Config,
    controller: Option<WifiController<'static>>,
    stack: Stack<'static>,
    socket: UdpSocket<'static>,
    gateway: IpEndpoint,
}

/// Why there is no network, or a datagram was not sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum WifiError {
    /// The driver does not start.
    Driver,
    /// The access point was not found, refused, or did not answer in time.
    Join,
    /// No address was given in time.
    Address,
    /// The datagram was not sent.
    Send,
}

impl WifiRadio {
    /// Prepares the network without switching it on, or returns `None` where network name and
    /// password do not fit the driver, or its parts are taken.
    pub(super) fn new(
        spawner: Spawner,
        device: WIFI<'static>,
        (gateway, port): ([u8; 4], u16),
        ssid: &str,
        password: &str,
    ) -> Option<Self> {
        let station = station(ssid, password)?;
        let rng = Rng::new();
        let seed = (u64::from(rng.random()) << 32) | u64::from(rng.random());
        let (stack, runner) = embassy_net::new(
            Interface::try_station()?,
            embassy_net::Config::dhcpv4(Default::default()),
            RESOURCES.init(StackResources::new()),
            seed,
        );
        spawner.spawn(run_stack(runner).ok()?);
        let mut socket = UdpSocket::new(
            stack,
            RECEIVE_META.try_take()?,
            RECEIVE.try_take()?,
            SEND_META.try_take()?,
            SEND.try_take()?,
        );
        // Bound once: the gateway sees the same port at every wake.
        socket.bind(0).ok()?;
        Some(Self {
            device,
            station,
            controller: None,
            stack,
            socket,
            gateway: IpEndpoint::new(IpAddress::Ipv4(Ipv4Addr::from(gateway)), port),
        })
    }

    async fn join(&mut self) -> Result<WifiController<'static>, WifiError> {
        // SAFETY: the controller made from this copy is dropped before the next one is made,
        // and `self.device` keeps anyone else from having one.
        let device = unsafe { self.device.clone_unchecked() };
        let config = ControllerConfig::default().with_initial_config(self.station.clone());
        let mut controller = WifiController::new(device, config).map_err(|_| WifiError::Driver)?;
        with_timeout(JOIN_TIMEOUT, controller.connect_async())
            .await
            .map_err(|_| WifiError::Join)?
            .map_err(|_| WifiError::Join)?;
        with_timeout(ADDRESS_TIMEOUT, self.stack.wait_config_up())
            .await
            .map_err(|_| WifiError::Address)?;
        Ok(controller)
    }
}

impl Radio for WifiRadio {
    type Error = WifiError;

    async fn power_up(&mut self) -> Result<(), WifiError> {
        if self.controller.is_none() {
            self.controller = Some(self.join().await?);
        }
        Ok(())
    }

    async fn power_down(&mut self) -> Result<(), WifiError> {
        self.socket.flush().await;
        // Dropping the controller stops the driver, and with it the radio.
        self.controller = None;
        Ok(())
    }

    async fn transmit(&mut self, datagram: &[u8]) -> Result<(), WifiError> {
        self.socket
            .send_to(datagram, self.gateway)
            .await
            .map_err(|_| WifiError::Send)
    }

    async fn receive(&mut self, buf: &mut [u8]) -> Result<usize, WifiError> {
        loop {
            match self.socket.recv_from(buf).await {
                Ok((len, from)) if from.endpoint == self.gateway => return Ok(len),
                Ok(_) | Err(RecvError::Truncated) => {}
            }
        }
    }
}

#[embassy_executor::task]
async fn run_stack(mut runner: Runner<'static, Interface>) -> ! {
    runner.run().await
}

fn station(ssid: &str, password: &str) -> Option<Config> {
    let authentication = if password.is_empty() {
        AuthenticationMethodConfig::Open
    } else {
        AuthenticationMethodConfig::Wpa2Personal(password.try_into().ok()?)
    };
    let station = StationConfig::default()
        .with_ssid(ssid.try_into().ok()?)
        .with_authentication(authentication);
    Some(Config::Station(station))
}

/// For an access point with a weak signal; the node then sleeps and tries again.
const JOIN_TIMEOUT: Duration = Duration::from_secs(15);
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(10);

/// One socket for the node and one for DHCP.
static RESOURCES: StaticCell<StackResources<2>> = StaticCell::new();

/// Datagrams that may wait in either direction; the protocol has few in flight.
const DATAGRAMS: usize = 4;
static RECEIVE_META: ConstStaticCell<[PacketMetadata; DATAGRAMS]> =
    ConstStaticCell::new([PacketMetadata::EMPTY; DATAGRAMS]);
static RECEIVE: ConstStaticCell<[u8; DATAGRAMS * DATAGRAM_LEN_MAX]> =
    ConstStaticCell::new([0; DATAGRAMS * DATAGRAM_LEN_MAX]);
static SEND_META: ConstStaticCell<[PacketMetadata; DATAGRAMS]> =
    ConstStaticCell::new([PacketMetadata::EMPTY; DATAGRAMS]);
static SEND: ConstStaticCell<[u8; DATAGRAMS * DATAGRAM_LEN_MAX]> =
    ConstStaticCell::new([0; DATAGRAMS * DATAGRAM_LEN_MAX]);
