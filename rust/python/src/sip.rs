//! The SIP reader's face: message heads and fields as the classes of `mediaserver.sip`.

use mediaserver_signal::sip;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::object::{Class, tuple_of, wire_text, wire_text_or_none, with_wire_bytes};

static ERROR: Class = Class::new("mediaserver.sip.errors", "SipParseError");
static SIP_URI: Class = Class::new("mediaserver.sip.uri", "SipUri");
static OTHER_URI: Class = Class::new("mediaserver.sip.uri", "OtherUri");
static NAME_ADDR: Class = Class::new("mediaserver.sip.headers", "NameAddr");
static VIA: Class = Class::new("mediaserver.sip.headers", "Via");
static NAMES: PyOnceLock<Vec<Py<PyString>>> = PyOnceLock::new();

/// Method, or `None` of a response; URI or reason phrase; status code, 0 of a request; header fields; what is wrong
/// with a request that can still be answered, and the status to answer.
type Head<'py> = (Option<Bound<'py, PyString>>, Bound<'py, PyString>, u16, Bound<'py, PyList>, Option<(String, u16)>);

fn refused(py: Python<'_>, error: &sip::ParseError) -> PyErr {
    let raise = || -> PyResult<PyErr> {
        let status = PyDict::new(py);
        status.set_item("status", error.status)?;
        Ok(PyErr::from_value(ERROR.get(py)?.call((error.reason.as_ref(),), Some(&status))?))
    };
    raise().unwrap_or_else(|problem| problem)
}

/// Start line and header fields, without the empty line.
#[pyfunction]
pub(crate) fn read_sip_head<'py>(
    py: Python<'py>,
    data: &[u8],
    headers: usize,
    header_bytes: usize,
) -> PyResult<Head<'py>> {
    let limits = sip::Limits { headers, header_bytes };
    let head = sip::Head::parse(data, limits).map_err(|error| refused(py, &error))?;
    let fields =
        head.fields.iter().map(|field| (name_text(py, &field.name), wire_text(py, &field.value)?).into_pyobject(py));
    let fields = PyList::new(py, fields.collect::<PyResult<Vec<_>>>()?)?;
    let problem = head.problem.map(|problem| (problem.reason.into_owned(), problem.status));
    Ok(match head.start {
        sip::Start::Request { method, uri } => (Some(wire_text(py, method)?), wire_text(py, uri)?, 0, fields, problem),
        sip::Start::Response { code, reason } => (None, wire_text(py, reason)?, code, fields, problem),
    })
}

fn name_text<'py>(py: Python<'py>, name: &sip::Name<'_>) -> Bound<'py, PyString> {
    let known = || sip::KNOWN.iter().map(|name| PyString::intern(py, name).unbind()).collect();
    match name {
        sip::Name::Known(index) => NAMES.get_or_init(py, known)[*index].bind(py).clone(),
        sip::Name::Other(text) => PyString::new(py, text),
    }
}

/// The usual spelling of a header name; compact forms become long.
#[pyfunction]
pub(crate) fn canonical_name<'py>(py: Python<'py>, name: &str) -> Bound<'py, PyString> {
    name_text(py, &sip::Name::of(name.as_bytes()))
}

/// The parts of a text between separators outside quotes and angle brackets, trimmed.
#[pyfunction]
#[pyo3(signature = (text, separator = ','))]
pub(crate) fn split_list<'py>(text: &Bound<'py, PyString>, separator: char) -> PyResult<Bound<'py, PyList>> {
    let py = text.py();
    let separator = u8::try_from(separator).map_err(|_| PyValueError::new_err("a separator is one byte"))?;
    with_wire_bytes(text, |bytes| {
        let parts = sip::split(bytes, separator).map_err(|error| refused(py, &error))?;
        PyList::new(py, parts.into_iter().map(|part| wire_text(py, part)).collect::<PyResult<Vec<_>>>()?)
    })
}

/// True when the text is one quoted-string and nothing else.
#[pyfunction]
pub(crate) fn is_quoted(text: &Bound<'_, PyString>) -> PyResult<bool> {
    with_wire_bytes(text, |bytes| Ok(sip::is_quoted(bytes)))
}

/// Content of a quoted-string; text without quotes comes back as it is.
#[pyfunction]
pub(crate) fn unquote_string<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyString>> {
    with_wire_bytes(text, |bytes| wire_text(text.py(), &sip::unquoted(bytes)))
}

/// Header parameters, one in each part.
#[pyfunction]
pub(crate) fn parse_params<'py>(py: Python<'py>, parts: Vec<Bound<'py, PyString>>) -> PyResult<Bound<'py, PyTuple>> {
    tuple_of(py, parts, |part| {
        with_wire_bytes(&part, |bytes| {
            let params = sip::params([bytes]).map_err(|error| refused(py, &error))?;
            param_tuple(py, &params[0])
        })
    })
}

fn param_tuple<'py>(py: Python<'py>, param: &(&[u8], Option<&[u8]>)) -> PyResult<Bound<'py, PyAny>> {
    Ok((wire_text(py, param.0)?, wire_text_or_none(py, param.1)?).into_pyobject(py)?.into_any())
}

fn params_tuple<'py>(py: Python<'py>, params: &sip::Params<'_>) -> PyResult<Bound<'py, PyTuple>> {
    tuple_of(py, params, |param| param_tuple(py, param))
}

fn uri_object<'py>(py: Python<'py>, uri: &sip::Uri<'_>) -> PyResult<Bound<'py, PyAny>> {
    let uri = match uri {
        sip::Uri::Other { scheme, text } => return OTHER_URI.get(py)?.call1((scheme, wire_text(py, text)?)),
        sip::Uri::Sip(uri) => uri,
    };
    let headers = tuple_of(py, &uri.headers, |(name, value)| {
        Ok((wire_text(py, name)?, wire_text(py, value)?).into_pyobject(py)?.into_any())
    })?;
    SIP_URI.get(py)?.call1((
        wire_text(py, uri.host)?,
        wire_text_or_none(py, uri.user)?,
        uri.port,
        if uri.secure { intern!(py, "sips") } else { intern!(py, "sip") },
        wire_text_or_none(py, uri.password)?,
        params_tuple(py, &uri.params)?,
        headers,
    ))
}

/// An addr-spec without brackets around it.
#[pyfunction]
pub(crate) fn parse_uri<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    let py = text.py();
    with_wire_bytes(text, |bytes| uri_object(py, &sip::Uri::parse(bytes).map_err(|error| refused(py, &error))?))
}

/// Host without brackets, and port.
#[pyfunction]
pub(crate) fn parse_host_port<'py>(text: &Bound<'py, PyString>) -> PyResult<(Bound<'py, PyString>, Option<u16>)> {
    let py = text.py();
    with_wire_bytes(text, |bytes| {
        let found = sip::HostPort::parse(bytes).map_err(|error| refused(py, &error))?;
        Ok((wire_text(py, found.host)?, found.port))
    })
}

fn address_object<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let address = sip::NameAddr::parse(text).map_err(|error| refused(py, &error))?;
    let display_name = wire_text(py, &address.display_name)?;
    NAME_ADDR.get(py)?.call1((uri_object(py, &address.uri)?, display_name, params_tuple(py, &address.params)?))
}

/// One name-addr or addr-spec with parameters.
#[pyfunction]
pub(crate) fn parse_name_addr<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    with_wire_bytes(text, |bytes| address_object(text.py(), bytes))
}

/// Every entry of comma lists over several fields, in order.
#[pyfunction]
pub(crate) fn parse_name_addrs<'py>(
    py: Python<'py>,
    values: Vec<Bound<'py, PyString>>,
) -> PyResult<Bound<'py, PyTuple>> {
    every_entry(py, &values, |item| address_object(py, item))
}

fn every_entry<'py>(
    py: Python<'py>,
    values: &[Bound<'py, PyString>],
    make: impl Fn(&[u8]) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyTuple>> {
    let mut made = Vec::with_capacity(values.len());
    for value in values {
        with_wire_bytes(value, |bytes| {
            for item in sip::split(bytes, b',').map_err(|error| refused(py, &error))? {
                made.push(make(item)?);
            }
            Ok(())
        })?;
    }
    PyTuple::new(py, made)
}

fn via_object<'py>(py: Python<'py>, text: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let via = sip::Via::parse(text).map_err(|error| refused(py, &error))?;
    VIA.get(py)?.call1((
        wire_text(py, &via.transport)?,
        wire_text(py, &via.host)?,
        via.port,
        params_tuple(py, &via.params)?,
        wire_text(py, via.version)?,
    ))
}

/// One Via entry.
#[pyfunction]
pub(crate) fn parse_via<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
    with_wire_bytes(text, |bytes| via_object(text.py(), bytes))
}

/// Every Via of a message, topmost first.
#[pyfunction]
pub(crate) fn parse_vias<'py>(py: Python<'py>, values: Vec<Bound<'py, PyString>>) -> PyResult<Bound<'py, PyTuple>> {
    every_entry(py, &values, |item| via_object(py, item))
}

/// CSeq number and method.
#[pyfunction]
pub(crate) fn parse_cseq<'py>(text: &Bound<'py, PyString>) -> PyResult<(u64, Bound<'py, PyString>)> {
    let py = text.py();
    with_wire_bytes(text, |bytes| {
        let (number, method) = sip::cseq(bytes).map_err(|error| refused(py, &error))?;
        Ok((number, wire_text(py, method)?))
    })
}

/// A decimal number of at most `maximum`.
#[pyfunction]
pub(crate) fn parse_number(text: &Bound<'_, PyString>, what: &str, maximum: u64) -> PyResult<u64> {
    with_wire_bytes(text, |bytes| sip::number(bytes, what, maximum).map_err(|error| refused(text.py(), &error)))
}
