//! Values of the readers as Python objects: text, classes of the package, and keyword arguments.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString, PyTuple, PyType};

/// A class of the package that is looked up once.
pub(crate) struct Class {
    module: &'static str,
    name: &'static str,
    found: PyOnceLock<Py<PyType>>,
}

impl Class {
    pub(crate) const fn new(module: &'static str, name: &'static str) -> Self {
        Self { module, name, found: PyOnceLock::new() }
    }

    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyType>> {
        self.found.import(py, self.module, self.name)
    }
}

/// Bytes of the wire as text; what is not UTF-8 becomes surrogates, which write the same bytes again.
pub(crate) fn wire_text<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(_) => PyString::from_encoded_object(&PyBytes::new(py, bytes), Some(c"utf-8"), Some(c"surrogateescape")),
    }
}

/// The same, `None` for nothing.
pub(crate) fn wire_text_or_none<'py>(py: Python<'py>, bytes: Option<&[u8]>) -> PyResult<Option<Bound<'py, PyString>>> {
    bytes.map(|bytes| wire_text(py, bytes)).transpose()
}

/// Give `read` the bytes of a text that came from `wire_text`.
pub(crate) fn with_wire_bytes<T>(text: &Bound<'_, PyString>, read: impl FnOnce(&[u8]) -> PyResult<T>) -> PyResult<T> {
    if let Ok(utf8) = text.to_str() {
        return read(utf8.as_bytes());
    }
    let encoded = text.call_method1("encode", ("utf-8", "surrogateescape"))?;
    read(encoded.cast::<PyBytes>()?.as_bytes())
}

/// A tuple of what `make` makes of each item.
pub(crate) fn tuple_of<'py, T>(
    py: Python<'py>,
    items: impl IntoIterator<Item = T>,
    make: impl Fn(T) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyTuple>> {
    let items = items.into_iter().map(make).collect::<PyResult<Vec<_>>>()?;
    PyTuple::new(py, items)
}

/// Keyword arguments; what has the class's default need not be there.
#[derive(Debug)]
pub(crate) struct Keywords<'py>(Bound<'py, PyDict>);

impl<'py> Keywords<'py> {
    pub(crate) fn new(py: Python<'py>) -> Self {
        Self(PyDict::new(py))
    }

    pub(crate) fn set(&self, name: &Bound<'py, PyString>, value: impl IntoPyObject<'py>) -> PyResult<()> {
        self.0.set_item(name, value)
    }

    /// Nothing for nothing.
    pub(crate) fn set_some(&self, name: &Bound<'py, PyString>, value: Option<impl IntoPyObject<'py>>) -> PyResult<()> {
        value.map_or(Ok(()), |value| self.0.set_item(name, value))
    }

    /// Nothing for false.
    pub(crate) fn set_true(&self, name: &Bound<'py, PyString>, value: bool) -> PyResult<()> {
        if value { self.0.set_item(name, true) } else { Ok(()) }
    }

    /// A tuple of what `make` makes of each item; nothing for no items.
    pub(crate) fn set_list<T>(
        &self,
        name: &Bound<'py, PyString>,
        items: &[T],
        make: impl Fn(&T) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        if items.is_empty() { Ok(()) } else { self.0.set_item(name, tuple_of(name.py(), items, make)?) }
    }

    /// An object of `class`.
    pub(crate) fn make(&self, class: &Class) -> PyResult<Bound<'py, PyAny>> {
        class.get(self.0.py())?.call((), Some(&self.0))
    }
}
