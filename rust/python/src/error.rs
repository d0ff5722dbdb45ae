//! Errors of the engine as Python exceptions.

use mediaserver_engine::EngineError;
use pyo3::PyErr;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};

/// Results of the engine as results that Python understands.
pub(crate) trait IntoPyErr<T> {
    /// ValueError for what the caller gave, OSError for what the kernel refused, RuntimeError for the rest.
    fn into_py(self) -> Result<T, PyErr>;
}

impl<T> IntoPyErr<T> for Result<T, EngineError> {
    fn into_py(self) -> Result<T, PyErr> {
        self.map_err(|error| {
            let text = error.to_string();
            match error {
                EngineError::Config(_) | EngineError::Batch(_) => PyValueError::new_err(text),
                EngineError::Io { .. } => PyOSError::new_err(text),
                EngineError::Answer(_) | EngineError::State(_) | EngineError::Stuck(_) | EngineError::LinksStuck => {
                    PyRuntimeError::new_err(text)
                }
            }
        })
    }
}

/// A configuration that cannot be read.
pub(crate) fn config_error(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(format!("the engine configuration cannot be read: {error}"))
}
