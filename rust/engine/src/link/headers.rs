//! What the streams of a link say in their headers: the control stream, and visitors' connections.

use std::net::SocketAddr;

use http::{HeaderValue, Method, Request, Uri};

use super::event::{Service, Visitor};

/// Path of the control stream.
pub(crate) const CONTROL: &str = "/control";
/// Path of a visitor's connection.
pub(crate) const VISITOR: &str = "/visitor";

const SOURCE: &str = "visitor-source";
const LOCAL: &str = "visitor-local";
const SERVER_NAME: &str = "visitor-server-name";
const SERVICE: &str = "visitor-service";
const NUMBER: &str = "visitor-number";
/// Longest DNS name as text (RFC 1035 §2.3.4).
const NAME_BYTES: usize = 253;

/// The request that opens the control stream.
pub(crate) fn control_request() -> Request<()> {
    request(CONTROL)
}

/// The request that opens a visitor's stream; `None` where the name is none.
pub(crate) fn visitor_request(visitor: &Visitor) -> Option<Request<()>> {
    let mut request = request(VISITOR);
    let headers = request.headers_mut();
    headers.insert(SOURCE, visitor.source.to_string().parse().ok()?);
    headers.insert(LOCAL, visitor.local.to_string().parse().ok()?);
    headers.insert(SERVER_NAME, Some(&visitor.server_name).filter(|name| is_name(name))?.parse().ok()?);
    headers.insert(SERVICE, HeaderValue::from_static(visitor.service.name()));
    headers.insert(NUMBER, visitor.number.into());
    Some(request)
}

/// The visitor of a request.
pub(crate) fn read_visitor<T>(request: &Request<T>) -> Option<Visitor> {
    let text = |name| request.headers().get(name)?.to_str().ok();
    let address = |name| text(name)?.parse::<SocketAddr>().ok();
    let server_name = text(SERVER_NAME).filter(|name| is_name(name))?.to_owned();
    let (service, number) = (Service::named(text(SERVICE)?)?, text(NUMBER)?.parse().ok()?);
    Some(Visitor { source: address(SOURCE)?, local: address(LOCAL)?, server_name, service, number })
}

/// Empty where the visitor asked for none.
fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte))
}

fn request(path: &'static str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::builder()
        .scheme("https")
        .authority("link.invalid")
        .path_and_query(path)
        .build()
        .unwrap_or_else(|_| Uri::from_static("https://link.invalid/"));
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visitor(source: &str, server_name: &str) -> Visitor {
        Visitor {
            source: source.parse().unwrap(),
            local: "[2001:db8::1]:443".parse().unwrap(),
            server_name: server_name.to_owned(),
            service: Service::Dialled,
            number: 4_711,
        }
    }

    #[test]
    fn a_visitor_reads_as_it_was_written() {
        for visitor in [visitor("203.0.113.9:4711", "video.bank.example"), visitor("[2001:db8::7]:1", "")] {
            let request = visitor_request(&visitor).unwrap();
            assert_eq!(request.uri().path(), VISITOR);
            assert_eq!(read_visitor(&request), Some(visitor));
        }
    }

    #[test]
    fn a_name_that_is_none_is_neither_written_nor_read() {
        for name in ["a b", "UPPER.example", "a\r\nx: y", "é.example", &"a".repeat(254)] {
            assert!(visitor_request(&visitor("203.0.113.9:1", name)).is_none(), "{name}");
        }
        let mut request = visitor_request(&visitor("203.0.113.9:1", "a.example")).unwrap();
        request.headers_mut().insert(SERVER_NAME, "<script>".parse().unwrap());
        assert_eq!(read_visitor(&request), None);
        request.headers_mut().remove(SERVER_NAME);
        assert_eq!(read_visitor(&request), None);
        for (header, value) in [(SERVICE, "mail"), (NUMBER, "-1")] {
            let mut request = visitor_request(&visitor("203.0.113.9:1", "")).unwrap();
            request.headers_mut().insert(header, value.parse().unwrap());
            assert_eq!(read_visitor(&request), None, "{header}: {value}");
        }
    }
}
