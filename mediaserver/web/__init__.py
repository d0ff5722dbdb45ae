"""Pages and modules for browsers: plain files, served by `api.pages`, without a build step."""
