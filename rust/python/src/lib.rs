//! Python face of the packet engine: bytes in, bytes out, and never a wait under the interpreter's lock; and of the
//! readers of SIP messages and session descriptions.

mod error;
mod object;
mod sdp;
mod sip;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mediaserver_engine::Engine as PacketEngine;
use mediaserver_engine::config::read_config;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::error::{IntoPyErr, config_error};

/// The packet engine: threads that own sockets. Every method may be called from any thread.
#[pyclass(module = "mediaserver._engine", frozen)]
#[derive(Debug)]
struct Engine {
    // Held for the length of one call by whichever Python thread makes it; the shards never touch it.
    engine: Mutex<PacketEngine>,
}

impl Engine {
    fn lock(&self) -> MutexGuard<'_, PacketEngine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Engine {
    /// Read the configuration (msgpack of `EngineConfig`). Raises ValueError when it is not usable.
    #[new]
    fn new(config: &[u8]) -> PyResult<Engine> {
        let config = read_config(config).map_err(config_error)?;
        Ok(Engine { engine: Mutex::new(PacketEngine::new(config).into_py()?) })
    }

    /// An eventfd that is readable when `drain` has something to give.
    #[getter]
    fn event_fd(&self, py: Python<'_>) -> i32 {
        py.detach(|| self.lock().event_fd())
    }

    /// Names of the threads that take commands, by the index that ids carry; none before `start`.
    #[getter]
    fn threads(&self, py: Python<'_>) -> Vec<String> {
        py.detach(|| self.lock().threads())
    }

    /// Bind the sockets and start one thread per shard. Raises OSError; RuntimeError when called twice.
    fn start(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.lock().start()).into_py()
    }

    /// Hand an array of commands to the shards. Raises ValueError when it cannot be read; then none of it counts.
    fn submit(&self, py: Python<'_>, batch: &[u8]) -> PyResult<()> {
        py.detach(|| self.lock().submit(batch)).into_py()
    }

    /// An array of all events that wait.
    fn drain<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| self.lock().drain()).into_py()?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// A map of counter name to value.
    fn counters<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = py.detach(|| self.lock().write_counters()).into_py()?;
        Ok(PyBytes::new(py, &bytes))
    }

    /// Close all transports and join the threads. Raises RuntimeError when a thread outlives the deadline.
    fn stop(&self, py: Python<'_>, deadline_ms: u64) -> PyResult<()> {
        py.detach(|| self.lock().stop(Duration::from_millis(deadline_ms))).into_py()
    }
}

#[pymodule]
mod _engine {
    #[pymodule_export]
    use super::Engine;
    #[pymodule_export]
    use super::sdp::{parse_candidate, parse_sdp, sdp_bounds, static_payloads};
    #[pymodule_export]
    use super::sip::{
        canonical_name, is_quoted, parse_cseq, parse_host_port, parse_name_addr, parse_name_addrs, parse_number,
        parse_params, parse_uri, parse_via, parse_vias, read_sip_head, split_list, unquote_string,
    };

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
