//! Which addresses are called. What a job or a name server says must not reach the machine itself, its neighbours, or the
//! metadata of a cloud; the check is made on the addresses that are then connected to, so that no name can change its mind.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, LazyLock},
};

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// What is not public, after the registries of special addresses of IANA (RFC 6890). The first network that fits is named.
const SPECIAL: &[(&str, &str)] = &[
    ("0.0.0.0/8", "an address of this machine"),
    ("10.0.0.0/8", "a private address"),
    ("100.64.0.0/10", "a provider's private address"),
    ("127.0.0.0/8", "a loopback address"),
    ("169.254.0.0/16", "a link-local address, where clouds keep their metadata"),
    ("172.16.0.0/12", "a private address"),
    ("192.0.0.0/24", "reserved for protocols"),
    ("192.0.2.0/24", "for documentation"),
    ("192.88.99.0/24", "reserved"),
    ("192.168.0.0/16", "a private address"),
    ("198.18.0.0/15", "for benchmarks"),
    ("198.51.100.0/24", "for documentation"),
    ("203.0.113.0/24", "for documentation"),
    ("224.0.0.0/4", "a multicast address"),
    ("240.0.0.0/4", "reserved"),
    ("::/128", "an address of this machine"),
    ("::1/128", "a loopback address"),
    ("fc00::/7", "a private address"),
    ("fe80::/10", "a link-local address"),
    ("fec0::/10", "a private address"),
    ("ff00::/8", "a multicast address"),
    ("2001::/23", "reserved for protocols"),
    ("2001:db8::/32", "for documentation"),
    ("3fff::/20", "for documentation"),
];

/// The part of IPv6 that is given out at all.
const GLOBAL: &str = "2000::/3";

static NETWORKS: LazyLock<Vec<(IpNet, &str)>> = LazyLock::new(|| SPECIAL.iter().map(|(network, what)| (net(network), *what)).collect());
static GLOBAL_UNICAST: LazyLock<IpNet> = LazyLock::new(|| net(GLOBAL));

fn net(text: &str) -> IpNet {
    text.parse().expect("written above")
}

/// Which addresses may be called. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Guard(Arc<[IpNet]>);

/// An address that is not called.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{} {what}; if it is to be called, LONGSHORE_WORKER__ALLOW must name its network", is_at(host, *address))]
pub(super) struct Forbidden {
    host: String,
    address: IpAddr,
    what: &'static str,
}

fn is_at(host: &str, address: IpAddr) -> String {
    if host == address.to_string() { format!("{address} is") } else { format!("{host} is at {address}, which is") }
}

impl Guard {
    /// Public addresses, and those in `allow`.
    pub fn new(allow: &[IpNet]) -> Self {
        Self(allow.into())
    }

    /// Checks one address of a host.
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), Forbidden> {
        let canonical = address.to_canonical();
        if self.0.iter().any(|network| network.contains(&address) || network.contains(&canonical)) {
            return Ok(());
        }
        match special(canonical) {
            None => Ok(()),
            Some(what) => Err(Forbidden { host: host.to_owned(), address, what }),
        }
    }
}

/// What kind of address it is, where it is not public.
fn special(address: IpAddr) -> Option<&'static str> {
    let named = NETWORKS.iter().find(|(network, _)| network.contains(&address)).map(|(_, what)| *what);
    match address {
        IpAddr::V4(_) => named,
        // those that lead to an IPv4 address are what that is
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => special(IpAddr::V4(inner)),
            None => named.or_else(|| (!GLOBAL_UNICAST.contains(&IpAddr::V6(address))).then_some("no public address")),
        },
    }
}

/// The IPv4 address to which a packet goes in the end: by 6to4 (RFC 3056), or by NAT64 (RFC 6052). Other forms that hold one are
/// outside of what is public.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        [0x2002, high, low, ..] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(v4(high, low)),
        _ => None,
    }
}

/// Asks the system for the addresses of a name, and keeps those that may be called.
#[derive(Debug)]
pub(super) struct Guarded(pub Guard);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            let host = name.as_str();
            let all: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            let mut refused = None;
            let mut may = Vec::with_capacity(all.len());
            for address in all {
                match guard.check(host, address.ip()) {
                    Ok(()) => may.push(address),
                    Err(forbidden) => refused = Some(forbidden),
                }
            }
            match refused {
                Some(forbidden) if may.is_empty() => Err(forbidden.into()),
                _ => Ok(Box::new(may.into_iter()) as Addrs),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use url::{Host, Url};

    use super::*;

    /// The address that a URL's host is, in whatever form it is written.
    fn literal(host: &str) -> IpAddr {
        match Url::parse(&format!("http://{host}/")).expect(host).host().expect(host) {
            Host::Ipv4(address) => address.into(),
            Host::Ipv6(address) => address.into(),
            Host::Domain(name) => panic!("{name} is a name"),
        }
    }

    #[test]
    fn what_is_not_public_is_refused_in_every_form() {
        let guard = Guard::new(&[]);
        for host in [
            "127.0.0.1",
            "2130706433",
            "0177.0.0.1",
            "0x7f000001",
            "0x7f.1",
            "127.1",
            "127.255.255.254",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[::127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[64:ff9b:1::7f00:1]",
            "[2002:7f00:1::]",
            "0",
            "0.0.0.0",
            "[::]",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "[fd00:ec2::254]",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fe80::1]",
            "[fec0::1]",
            "[fc00::1]",
            "[ff02::1]",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "[2001:db8::1]",
            "[3fff::1]",
            "198.18.0.1",
            "198.19.255.255",
            "192.0.0.8",
            "192.88.99.1",
            "[2001::1]",
            "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
            "[100::1]",
            "[5f00::1]",
            "[4000::1]",
        ] {
            assert!(guard.check("it", literal(host)).is_err(), "{host}");
        }
    }

    #[test]
    fn what_is_public_is_called() {
        let guard = Guard::new(&[]);
        for host in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "[2606:4700::1111]",
            "[2001:4860::8888]",
            "[2a00::1]",
            "[64:ff9b::101:101]",
            "[2002:101:101::1]",
            "[::ffff:1.1.1.1]",
        ] {
            assert_eq!(guard.check("it", literal(host)), Ok(()), "{host}");
        }
    }

    #[test]
    fn networks_that_are_allowed_are_called_and_no_others() {
        let guard = Guard::new(&[net("127.0.0.0/8"), net("fd00::/8")]);
        for (host, may) in
            [("127.0.0.1", true), ("[::ffff:127.0.0.1]", true), ("[fd00::5]", true), ("[::1]", false), ("10.0.0.1", false), ("[2002:7f00:1::]", false)]
        {
            assert_eq!(guard.check("it", literal(host)).is_ok(), may, "{host}");
        }
        assert_eq!(
            guard.check("db.internal", literal("10.0.0.1")).expect_err("private").to_string(),
            "db.internal is at 10.0.0.1, which is a private address; if it is to be called, LONGSHORE_WORKER__ALLOW must name its network"
        );
        assert!(guard.check("10.0.0.1", literal("10.0.0.1")).expect_err("private").to_string().starts_with("10.0.0.1 is a private address; "));
    }

    #[tokio::test]
    async fn a_name_is_refused_by_what_it_resolves_to() {
        let resolve = async |allow: &[IpNet], name: &str| {
            let resolved = Guarded(Guard::new(allow)).resolve(name.parse().expect("a name")).await;
            resolved.map(|addresses| addresses.map(|address| address.ip()).collect::<Vec<_>>()).map_err(|error| error.to_string())
        };
        let error = resolve(&[], "localhost").await.expect_err("loopback");
        assert!(error.starts_with("localhost is at ") && error.contains("a loopback address"), "{error}");
        let allowed = resolve(&[net("127.0.0.0/8")], "localhost").await.expect("allowed");
        assert_eq!(allowed, [IpAddr::V4(Ipv4Addr::LOCALHOST)], "and no other address of it");
    }
}
