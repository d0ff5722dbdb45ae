//! Addresses of the configuration, read once; what is wrong is named by its key.

use std::net::{IpAddr, SocketAddr};

use super::EngineError;

/// An `ip:port` of the configuration's `key`.
pub(crate) fn read_address(key: &str, text: &str) -> Result<SocketAddr, EngineError> {
    text.parse().map_err(|_| EngineError::Config(format!("{key}: {text} is not ip:port")))
}

/// Several of them.
pub(crate) fn read_addresses(key: &str, texts: &[String]) -> Result<Vec<SocketAddr>, EngineError> {
    texts.iter().map(|text| read_address(key, text)).collect()
}

/// An IP address of the configuration's `key`.
pub(crate) fn read_ip(key: &str, text: &str) -> Result<IpAddr, EngineError> {
    text.parse().map_err(|_| EngineError::Config(format!("{key}: {text} is not an IP address")))
}

/// Several of them.
pub(crate) fn read_ips(key: &str, texts: &[String]) -> Result<Vec<IpAddr>, EngineError> {
    texts.iter().map(|text| read_ip(key, text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_address_is_named_with_its_key() {
        let texts = ["192.0.2.1".to_owned(), "192.0.2.1:5".to_owned()];
        let reason = |error: EngineError| error.to_string();
        assert_eq!(
            read_ips("sip_binds", &texts).map_err(reason),
            Err("sip_binds: 192.0.2.1:5 is not an IP address".to_owned())
        );
        assert_eq!(read_addresses("turn", &texts).map_err(reason), Err("turn: 192.0.2.1 is not ip:port".to_owned()));
        assert_eq!(read_addresses("turn", &texts[1..]).map_err(reason), Ok(vec![([192, 0, 2, 1], 5).into()]));
    }
}
