//! The reader of session descriptions as the classes of `mediaserver.sdp`.

use std::borrow::Cow;

use mediaserver_signal::sdp;
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple};

use crate::object::{Class, Keywords, tuple_of};

const MODULE: &str = "mediaserver.sdp.description";

static ERROR: Class = Class::new(MODULE, "SdpError");
static DIRECTION: Class = Class::new(MODULE, "Direction");
static ORIGIN: Class = Class::new(MODULE, "Origin");
static BANDWIDTH: Class = Class::new(MODULE, "Bandwidth");
static ATTRIBUTE: Class = Class::new(MODULE, "Attribute");
static CODEC: Class = Class::new(MODULE, "Codec");
static EXTENSION: Class = Class::new(MODULE, "Extension");
static FINGERPRINT: Class = Class::new(MODULE, "Fingerprint");
static CRYPTO: Class = Class::new(MODULE, "Crypto");
static CANDIDATE: Class = Class::new(MODULE, "Candidate");
static SSRC: Class = Class::new(MODULE, "Ssrc");
static SSRC_GROUP: Class = Class::new(MODULE, "SsrcGroup");
static RID: Class = Class::new(MODULE, "Rid");
static SIMULCAST: Class = Class::new(MODULE, "Simulcast");
static GROUP: Class = Class::new(MODULE, "Group");
static TIMING: Class = Class::new(MODULE, "Timing");
static MEDIA: Class = Class::new(MODULE, "MediaDescription");
static SESSION: Class = Class::new(MODULE, "SessionDescription");

fn refused(py: Python<'_>, error: &sdp::SdpError) -> PyErr {
    let raise = || -> PyResult<PyErr> {
        let text = PyDict::new(py);
        text.set_item("text", &error.text)?;
        Ok(PyErr::from_value(ERROR.get(py)?.call((error.line, error.reason.as_ref()), Some(&text))?))
    };
    raise().unwrap_or_else(|problem| problem)
}

/// Read a session description from text or UTF-8.
#[pyfunction]
pub(crate) fn parse_sdp<'py>(text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = text.py();
    with_text(text, |text| session_object(py, &sdp::parse(text).map_err(|error| refused(py, &error))?))
}

/// What is not UTF-8 is replaced, in bytes and in text that no bytes can stand for.
fn with_text<T>(text: &Bound<'_, PyAny>, read: impl FnOnce(&str) -> PyResult<T>) -> PyResult<T> {
    if let Ok(bytes) = text.cast::<PyBytes>() {
        return read(&String::from_utf8_lossy(bytes.as_bytes()));
    }
    let text = text.cast::<PyString>()?;
    if let Ok(utf8) = text.to_str() {
        return read(utf8);
    }
    let encoded = text.call_method1("encode", ("utf-8", "replace"))?;
    read(&String::from_utf8_lossy(encoded.cast::<PyBytes>()?.as_bytes()))
}

/// The value of a candidate attribute (RFC 8839 §5.1); ValueError says what would be right.
#[pyfunction]
pub(crate) fn parse_candidate<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    with_text(value, |text| {
        let candidate =
            sdp::Candidate::parse(text).map_err(|reason: Cow<'_, str>| PyValueError::new_err(reason.into_owned()))?;
        candidate_object(value.py(), &candidate)
    })
}

/// Payload types that need no rtpmap (RFC 3551 §6): name, clock rate in Hz, channels.
#[pyfunction]
pub(crate) fn static_payloads(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let table = PyDict::new(py);
    for (pt, name, clock_rate, channels) in sdp::STATIC_PAYLOADS {
        table.set_item(pt, (name, clock_rate, channels))?;
    }
    Ok(table)
}

/// Most lines, bytes of a line, sections, formats of a section, and attributes of a level.
#[pyfunction]
pub(crate) const fn sdp_bounds() -> (usize, usize, usize, usize, usize) {
    (sdp::MAX_LINES, sdp::MAX_LINE_BYTES, sdp::MAX_MEDIA, sdp::MAX_FORMATS, sdp::MAX_ATTRIBUTES)
}

fn session_object<'py>(py: Python<'py>, session: &sdp::Session<'_>) -> PyResult<Bound<'py, PyAny>> {
    let level = &session.level;
    let fields = Keywords::new(py);
    if let Some(origin) = &session.origin {
        let origin = ORIGIN.get(py)?.call1((origin.username, origin.session_id, origin.version, origin.address))?;
        fields.set(intern!(py, "origin"), origin)?;
    }
    fields.set_some(intern!(py, "name"), session.name)?;
    fields.set_some(intern!(py, "connection"), level.connection)?;
    fields.set_list(intern!(py, "bandwidth"), &level.bandwidth, |item| bandwidth_object(py, item))?;
    fields.set_list(intern!(py, "timing"), &session.timing, |item| TIMING.get(py)?.call1((item.start, item.stop)))?;
    fields.set_list(intern!(py, "groups"), &session.groups, |group| {
        GROUP.get(py)?.call1((&group.semantics, PyTuple::new(py, &group.mids)?))
    })?;
    fields.set_true(intern!(py, "ice_lite"), session.ice_lite)?;
    fields
        .set_list(intern!(py, "ice_options"), &level.ice_options, |option| Ok(PyString::new(py, option).into_any()))?;
    fields.set_true(intern!(py, "extmap_allow_mixed"), level.extmap_allow_mixed)?;
    fields.set_list(intern!(py, "attributes"), &level.attributes, |item| attribute_object(py, item))?;
    fields.set_list(intern!(py, "media"), &session.media, |section| section_object(py, section))?;
    fields.make(&SESSION)
}

fn section_object<'py>(py: Python<'py>, section: &sdp::Section<'_>) -> PyResult<Bound<'py, PyAny>> {
    let fields = Keywords::new(py);
    fields.set(intern!(py, "kind"), &section.kind)?;
    fields.set(intern!(py, "port"), section.port)?;
    fields.set(intern!(py, "protocol"), &section.protocol)?;
    fields.set(intern!(py, "formats"), PyTuple::new(py, &section.formats)?)?;
    fields.set(intern!(py, "line"), section.line)?;
    fields.set_some(intern!(py, "title"), section.title)?;
    fields.set_list(intern!(py, "codecs"), &section.codecs(), |codec| codec_object(py, codec))?;
    fields.set_some(intern!(py, "mid"), section.mid)?;
    set_level(py, &fields, section)?;
    set_transport(py, &fields, section)?;
    set_streams(py, &fields, section)?;
    fields.make(&MEDIA)
}

fn set_level<'py>(py: Python<'py>, fields: &Keywords<'py>, section: &sdp::Section<'_>) -> PyResult<()> {
    let level = &section.level;
    fields.set_some(intern!(py, "connection"), level.connection)?;
    fields.set_list(intern!(py, "bandwidth"), &level.bandwidth, |item| bandwidth_object(py, item))?;
    fields.set(intern!(py, "direction"), direction_object(py, section.direction())?)?;
    fields.set_some(intern!(py, "ptime"), level.ptime)?;
    fields.set_some(intern!(py, "maxptime"), level.maxptime)?;
    fields.set_list(intern!(py, "extensions"), &level.extensions, |item| {
        let direction = item.direction.map(|direction| direction_object(py, direction)).transpose()?;
        EXTENSION.get(py)?.call1((item.id, item.uri, direction, item.attributes))
    })?;
    fields.set_true(intern!(py, "extmap_allow_mixed"), level.extmap_allow_mixed)?;
    fields.set_some(intern!(py, "ice_ufrag"), level.ice_ufrag)?;
    fields.set_some(intern!(py, "ice_pwd"), level.ice_pwd)?;
    fields.set_list(intern!(py, "fingerprints"), &level.fingerprints, |item| {
        FINGERPRINT.get(py)?.call1((&item.algorithm, PyBytes::new(py, &item.value)))
    })?;
    fields.set_some(intern!(py, "setup"), level.setup.map(sdp::Setup::as_str))?;
    fields.set_list(intern!(py, "attributes"), &level.attributes, |item| attribute_object(py, item))
}

fn set_transport<'py>(py: Python<'py>, fields: &Keywords<'py>, section: &sdp::Section<'_>) -> PyResult<()> {
    fields.set_true(intern!(py, "rtcp_mux"), section.rtcp_mux)?;
    fields.set_true(intern!(py, "rtcp_mux_only"), section.rtcp_mux_only)?;
    fields.set_true(intern!(py, "rtcp_rsize"), section.rtcp_rsize)?;
    fields.set_some(intern!(py, "rtcp_port"), section.rtcp_port)?;
    fields.set_some(intern!(py, "rtcp_address"), section.rtcp_address)?;
    fields.set_list(intern!(py, "cryptos"), &section.cryptos, |item| {
        let session_parameters = PyTuple::new(py, &item.session_parameters)?;
        let key = PyBytes::new(py, &item.key);
        CRYPTO.get(py)?.call1((item.tag, &item.suite, key, item.lifetime, item.mki, session_parameters))
    })?;
    fields.set_list(intern!(py, "candidates"), &section.candidates, |item| candidate_object(py, item))?;
    fields.set_true(intern!(py, "end_of_candidates"), section.end_of_candidates)?;
    fields.set_true(intern!(py, "bundle_only"), section.bundle_only)
}

fn set_streams<'py>(py: Python<'py>, fields: &Keywords<'py>, section: &sdp::Section<'_>) -> PyResult<()> {
    fields.set_list(intern!(py, "ssrcs"), section.ssrcs.as_slice(), |item| {
        SSRC.get(py)?.call1((item.id, item.cname, item.msid))
    })?;
    fields.set_list(intern!(py, "ssrc_groups"), &section.ssrc_groups, |item| {
        SSRC_GROUP.get(py)?.call1((&item.semantics, PyTuple::new(py, &item.ssrcs)?))
    })?;
    fields.set_some(intern!(py, "msid"), section.msid)?;
    fields.set_list(intern!(py, "rids"), &section.rids, |item| {
        RID.get(py)?.call1((item.id, item.direction, item.restrictions))
    })?;
    let simulcast = section
        .simulcast
        .as_ref()
        .map(|item| SIMULCAST.get(py)?.call1((streams_tuple(py, &item.send)?, streams_tuple(py, &item.receive)?)));
    fields.set_some(intern!(py, "simulcast"), simulcast.transpose()?)
}

fn streams_tuple<'py>(py: Python<'py>, streams: &[Vec<&str>]) -> PyResult<Bound<'py, PyTuple>> {
    tuple_of(py, streams, |alternatives| Ok(PyTuple::new(py, alternatives)?.into_any()))
}

fn codec_object<'py>(py: Python<'py>, codec: &sdp::Codec<'_>) -> PyResult<Bound<'py, PyAny>> {
    let fmtp = PyDict::new(py);
    for (name, value) in codec.fmtp {
        fmtp.set_item(name, value)?;
    }
    let feedback = PyTuple::new(py, &codec.feedback)?;
    CODEC.get(py)?.call1((codec.pt, codec.name, codec.clock_rate, codec.channels, fmtp, feedback))
}

fn candidate_object<'py>(py: Python<'py>, item: &sdp::Candidate<'_>) -> PyResult<Bound<'py, PyAny>> {
    let extensions = PyTuple::new(py, &item.extensions)?;
    let head = (item.foundation, item.component, &item.transport, item.priority);
    CANDIDATE.get(py)?.call1((head.0, head.1, head.2, head.3, item.address, item.port, item.kind, extensions))
}

fn bandwidth_object<'py>(py: Python<'py>, item: &sdp::Bandwidth<'_>) -> PyResult<Bound<'py, PyAny>> {
    BANDWIDTH.get(py)?.call1((item.kind, item.value))
}

fn attribute_object<'py>(py: Python<'py>, item: &sdp::Attribute<'_>) -> PyResult<Bound<'py, PyAny>> {
    ATTRIBUTE.get(py)?.call1((item.name, item.value))
}

fn direction_object(py: Python<'_>, direction: sdp::Direction) -> PyResult<Bound<'_, PyAny>> {
    static MEMBERS: PyOnceLock<[Py<PyAny>; 4]> = PyOnceLock::new();
    let find = || -> PyResult<[Py<PyAny>; 4]> {
        let class = DIRECTION.get(py)?;
        let member = |name| class.getattr(name).map(Bound::unbind);
        Ok([member("SENDRECV")?, member("SENDONLY")?, member("RECVONLY")?, member("INACTIVE")?])
    };
    Ok(MEMBERS.get_or_try_init(py, find)?[direction as usize].bind(py).clone())
}
